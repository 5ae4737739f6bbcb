/* Preloaded into a process (LD_PRELOAD): its time of day, and its time since boot, are wrong by as many seconds as
 * the files say that DIO_TEST_WALL and DIO_TEST_ASLEEP name, now and whenever that changes. Its clocks for durations
 * stay right. A container may not set the machine's clock. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(const char *name)
{
	int before = errno;
	char text[24] = "";
	const char *path = getenv(name);
	long file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;

	if (file >= 0) {
		syscall(SYS_read, file, text, sizeof text - 1);
		syscall(SYS_close, file);
	}
	errno = before;
	return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (syscall(SYS_clock_gettime, clock, now))
		return -1;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += wrong_by("DIO_TEST_WALL");
	else if (clock == CLOCK_BOOTTIME)
		now->tv_sec += wrong_by("DIO_TEST_ASLEEP");
	return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &exact))
		return -1;
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *where)
{
	struct timespec exact;

	if (clock_gettime(CLOCK_REALTIME, &exact))
		return -1;
	if (where)
		*where = exact.tv_sec;
	return exact.tv_sec;
}
