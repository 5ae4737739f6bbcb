# bash completion for nervectl(1). Static: it runs no program.
_nervectl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command="" words="" word
    local -i index
    COMPREPLY=()
    case $previous in
        --config | --rules | --password-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2> /dev/null
            return
            ;;
        --scope)
            mapfile -t COMPREPLY < <(compgen -W "read threats metrics admin" -- "$current")
            return
            ;;
        --role)
            mapfile -t COMPREPLY < <(compgen -W "viewer operator admin" -- "$current")
            return
            ;;
        --agent | --expires | --host | --interval | --label | --limit | --reason | --since | --threat | --until | --uses) return ;;
    esac
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
            --agent | --config | --expires | --host | --interval | --label | --limit | --password-file | --reason | --role | --rules | --scope | --since | --threat | --until | --uses) index+=1 ;;
            -*) ;;
            *)
                command+="${command:+ }$word"
                case $command in
                    token | agents | api-token | database | enrollment | notify | policy | silence | tolerance | user) ;;
                    *) break ;;
                esac
                ;;
        esac
    done
    case $command in
        "") words="token agents continuity api-token audit database enrollment notify policy silence threats tolerance user --config --version --help" ;;
        token) words="show rotate --help" ;;
        agents) words="revoke allow --json --help" ;;
        continuity) words="--agent --since --json --help" ;;
        api-token | enrollment | silence | tolerance) words="add list remove --help" ;;
        "api-token add") words="--scope --expires --help" ;;
        "api-token list" | "enrollment list" | "policy list" | "silence list" | "tolerance list" | "user list") words="--json --help" ;;
        audit) words="--limit --json --help" ;;
        threats) words="--host --all --limit --json --help" ;;
        database) words="migrate check backup restore copy --help" ;;
        "database check") words="--quick --help" ;;
        "enrollment add") words="--expires --uses --label --help" ;;
        notify) words="list test --help" ;;
        policy) words="list set remove show --help" ;;
        "policy set") words="--label --interval --rules --help" ;;
        "policy remove") words="--label --help" ;;
        "silence add") words="--host --label --fleet --until --reason --help" ;;
        "tolerance add") words="--threat --host --label --fleet --reason --until --help" ;;
        user) words="add first list remove password role disable enable logout login-link --help" ;;
        "user add") words="--role --password-file --help" ;;
        "user password") words="--password-file --help" ;;
        "user role") words="viewer operator admin --help" ;;
        *) words="--help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if [[ $command == "database backup" || $command == "database restore" ]]; then
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2> /dev/null
    fi
}
complete -F _nervectl nervectl
