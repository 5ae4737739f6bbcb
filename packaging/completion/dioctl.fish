# fish completion for dioctl(1). Static: it runs no program.
function __dioctl_at --description 'Whether the command line has come to this command of dioctl'
    set -l words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --socket --config --token-file --output -o --interval --reason --for --data --only
                set skip 1
            case '-*'
            case '*'
                set -a words $word
        end
    end
    set -l found $words[1]
    switch "$found"
        case report config rules change debug
            set -a found $words[2]
    end
    test "$argv" = "$found"
end

complete -c dioctl -f
complete -c dioctl -s h -l help -d 'Show help'
complete -c dioctl -n '__dioctl_at' -l socket -r -F -d 'Control socket'
complete -c dioctl -n '__dioctl_at' -l version -d 'Print the version'

complete -c dioctl -n '__dioctl_at' -a status -d 'How the agent is'
complete -c dioctl -n '__dioctl_at' -a top -d 'This host live, and what the agent costs'
complete -c dioctl -n '__dioctl_at' -a health -d 'One line and an exit code for monitoring'
complete -c dioctl -n '__dioctl_at' -a spool -d 'What waits, is kept, is missing'
complete -c dioctl -n '__dioctl_at' -a threats -d 'Open threats'
complete -c dioctl -n '__dioctl_at' -a policy -d 'What the nerve center sets here'
complete -c dioctl -n '__dioctl_at' -a events -d 'What happens, as it happens'
complete -c dioctl -n '__dioctl_at' -a metrics -d 'Prometheus text'
complete -c dioctl -n '__dioctl_at' -a reload -d 'Read the configuration again (root)'
complete -c dioctl -n '__dioctl_at' -a flush -d 'Deliver what waits now (root)'
complete -c dioctl -n '__dioctl_at' -a reregister -d 'Register again (root)'
complete -c dioctl -n '__dioctl_at' -a pause -d 'Pause reporting for a while (root)'
complete -c dioctl -n '__dioctl_at' -a resume -d 'End the pause (root)'
complete -c dioctl -n '__dioctl_at' -a log-level -d 'Log more or less (root)'
complete -c dioctl -n '__dioctl_at' -a report -d 'Submit an event or metrics'
complete -c dioctl -n '__dioctl_at' -a config -d 'Show or check the configuration'
complete -c dioctl -n '__dioctl_at' -a check-config -d 'Check the configuration'
complete -c dioctl -n '__dioctl_at' -a drill -d 'Play harmless imitations of attacks (root)'
complete -c dioctl -n '__dioctl_at' -a change -d 'Announce changes of this host (root)'
complete -c dioctl -n '__dioctl_at' -a rules -d 'List, check or try the rules'
complete -c dioctl -n '__dioctl_at' -a enroll -d 'Put this host under watch (root)'
complete -c dioctl -n '__dioctl_at' -a debug -d 'For support'

complete -c dioctl -n '__dioctl_at report' -a event -d 'Submit an event'
complete -c dioctl -n '__dioctl_at report' -a metrics -d 'Submit metrics'
complete -c dioctl -n '__dioctl_at config' -a show -d 'What is in force'
complete -c dioctl -n '__dioctl_at config' -a check -d 'Every error of the files'
complete -c dioctl -n '__dioctl_at change' -a begin -d 'What changes from now on is meant'
complete -c dioctl -n '__dioctl_at change' -a end -d 'The change is done'
complete -c dioctl -n '__dioctl_at change' -a accept -d 'What is told now was meant'
complete -c dioctl -n '__dioctl_at rules' -a list -d 'The rules in force'
complete -c dioctl -n '__dioctl_at rules' -a check -d 'Every error of the files'
complete -c dioctl -n '__dioctl_at rules' -a test -d 'What the rules say of recorded samples'
complete -c dioctl -n '__dioctl_at debug' -a bundle -d 'One archive with all that support asks for'
complete -c dioctl -n '__dioctl_at pause' -a '30m 2h 1d' -d 'How long'
complete -c dioctl -n '__dioctl_at log-level' -a 'debug info warning error'

for command in status top health spool threats policy events metrics reload flush reregister pause resume log-level \
        check-config drill enroll 'report event' 'report metrics' 'config show' 'config check' 'rules list' 'rules check' 'rules test' 'change begin' 'change end' 'change accept' 'debug bundle'
    complete -c dioctl -n "__dioctl_at $command" -l json -d 'JSON, for programs'
end
complete -c dioctl -n '__dioctl_at top' -l interval -x -d 'Seconds between two looks'
complete -c dioctl -n '__dioctl_at top' -l once -d 'Show it once'
complete -c dioctl -n '__dioctl_at events' -s f -l follow -d 'The default'
complete -c dioctl -n '__dioctl_at drill' -l yes -d 'Do it'
complete -c dioctl -n '__dioctl_at drill' -l only -x -d 'This imitation'
complete -c dioctl -n '__dioctl_at change begin' -l for -x -d 'How long'
complete -c dioctl -n '__dioctl_at change begin' -l reason -x -d 'Why'
complete -c dioctl -n '__dioctl_at pause' -l reason -x -d 'Why'
complete -c dioctl -n '__dioctl_at report event' -l data -x -d 'JSON object, - for standard input'
complete -c dioctl -n '__dioctl_at config check' -l config -r -F -d 'Configuration file'
complete -c dioctl -n '__dioctl_at check-config' -l config -r -F -d 'Configuration file'
for command in 'rules list' 'rules check' 'rules test'
    complete -c dioctl -n "__dioctl_at $command" -l config -r -F -d 'Configuration file'
end
for command in 'rules list' 'rules test'
    complete -c dioctl -n "__dioctl_at $command" -l files -d 'Without the rules of the policy'
end
complete -c dioctl -n '__dioctl_at enroll' -l token-file -r -F -d 'Read the token from a file'
complete -c dioctl -n '__dioctl_at enroll' -l config -r -F -d 'Configuration file'
complete -c dioctl -n '__dioctl_at enroll' -l allow-plain-http -d 'Send the credential unencrypted'
complete -c dioctl -n '__dioctl_at enroll' -l no-start -d 'Do not start the agent'
complete -c dioctl -n '__dioctl_at debug bundle' -s o -l output -r -F -d 'Where to write it'
