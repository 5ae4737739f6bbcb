# bash completion for dioctl(1). Static: it runs no program.
_dioctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command="" words="" word
    local -i index
    COMPREPLY=()
    case $previous in
        --socket | --config | --token-file | --output | -o)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2> /dev/null
            return
            ;;
        --interval | --reason | --for | --data | --only) return ;;
    esac
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
            --socket | --config | --token-file | --output | -o | --interval | --reason | --for | --data | --only) index+=1 ;;
            -*) ;;
            *)
                command+="${command:+ }$word"
                case $command in
                    report | config | rules | change | debug) ;;
                    *) break ;;
                esac
                ;;
        esac
    done
    case $command in
        "")
            words="status top health spool threats policy events metrics reload flush reregister pause resume log-level"
            words+=" report config check-config rules change drill enroll debug --socket --version --help"
            ;;
        status | health | spool | threats | policy | metrics | reload | flush | reregister | resume) words="--json --help" ;;
        top) words="--interval --once --json --help" ;;
        events) words="--follow --json --help" ;;
        pause) words="30m 2h 1d --reason --json --help" ;;
        log-level) words="debug info warning error --json --help" ;;
        report) words="event metrics --help" ;;
        "report event") words="--data --json --help" ;;
        "report metrics") words="--json --help" ;;
        config) words="show check --help" ;;
        "config show") words="--json --help" ;;
        "config check" | check-config) words="--config --json --help" ;;
        drill) words="--yes --only --json --help" ;;
        change) words="begin end accept --help" ;;
        "change begin") words="--for --reason --json --help" ;;
        "change end" | "change accept") words="--json --help" ;;
        rules) words="list check test --help" ;;
        "rules list" | "rules test") words="--config --files --json --help" ;;
        "rules check") words="--config --json --help" ;;
        enroll) words="--token-file --config --allow-plain-http --no-start --json --help" ;;
        debug) words="bundle --help" ;;
        "debug bundle") words="--output --json --help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _dioctl dioctl
