# fish completion for nervectl(1). Static: it runs no program.
function __nervectl_at --description 'Whether the command line has come to this command of nervectl'
    set -l words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --agent --config --expires --host --interval --label --limit --password-file --reason --role --rules --scope --since --threat --until --uses
                set skip 1
            case '-*'
            case '*'
                set -a words $word
        end
    end
    set -l found $words[1]
    switch "$found"
        case token agents api-token database enrollment notify policy silence tolerance user
            set -a found $words[2]
    end
    test "$argv" = "$found"
end

complete -c nervectl -f
complete -c nervectl -s h -l help -d 'Show help'
complete -c nervectl -n '__nervectl_at' -l config -r -F -d 'Configuration file'
complete -c nervectl -n '__nervectl_at' -l version -d 'Print the version'

complete -c nervectl -n '__nervectl_at' -a token -d 'The enrollment token of this nerve center'
complete -c nervectl -n '__nervectl_at' -a agents -d 'The hosts under watch'
complete -c nervectl -n '__nervectl_at' -a continuity -d 'Whether anything is unaccounted for'
complete -c nervectl -n '__nervectl_at' -a api-token -d 'Tokens for programs'
complete -c nervectl -n '__nervectl_at' -a audit -d 'Who changed what'
complete -c nervectl -n '__nervectl_at' -a threats -d 'What is wrong on the fleet'
complete -c nervectl -n '__nervectl_at' -a database -d 'Migrate, check, back up, restore, copy'
complete -c nervectl -n '__nervectl_at' -a enrollment -d 'Enrollment tokens with an end, uses and labels'
complete -c nervectl -n '__nervectl_at' -a notify -d 'Who is notified of what'
complete -c nervectl -n '__nervectl_at' -a policy -d 'How hosts are watched'
complete -c nervectl -n '__nervectl_at' -a silence -d 'Hosts that somebody works on'
complete -c nervectl -n '__nervectl_at' -a tolerance -d 'Findings that are normal'
complete -c nervectl -n '__nervectl_at' -a user -d 'People who may log in'

complete -c nervectl -n '__nervectl_at token' -a show -d 'Print it'
complete -c nervectl -n '__nervectl_at token' -a rotate -d 'Replace it by a new one'
complete -c nervectl -n '__nervectl_at agents' -a revoke -d 'Refuse one'
complete -c nervectl -n '__nervectl_at agents' -a allow -d 'Accept one again'
complete -c nervectl -n '__nervectl_at api-token' -a add -d 'Make one'
complete -c nervectl -n '__nervectl_at api-token' -a list -d 'Those there are'
complete -c nervectl -n '__nervectl_at api-token' -a remove -d 'Make one invalid'
complete -c nervectl -n '__nervectl_at database' -a migrate -d 'Bring it up to date'
complete -c nervectl -n '__nervectl_at database' -a check -d 'Look for damage'
complete -c nervectl -n '__nervectl_at database' -a backup -d 'Write a copy of one moment'
complete -c nervectl -n '__nervectl_at database' -a restore -d 'Put a backup in its place'
complete -c nervectl -n '__nervectl_at database' -a copy -d 'Copy it to PostgreSQL'
complete -c nervectl -n '__nervectl_at enrollment' -a add -d 'Make one'
complete -c nervectl -n '__nervectl_at enrollment' -a list -d 'Those there are'
complete -c nervectl -n '__nervectl_at enrollment' -a remove -d 'Make one invalid'
complete -c nervectl -n '__nervectl_at notify' -a list -d 'Check the file and list its routes'
complete -c nervectl -n '__nervectl_at notify' -a test -d 'Send a test message'
complete -c nervectl -n '__nervectl_at policy' -a list -d 'Those there are'
complete -c nervectl -n '__nervectl_at policy' -a set -d 'Set one'
complete -c nervectl -n '__nervectl_at policy' -a remove -d 'Remove one'
complete -c nervectl -n '__nervectl_at policy' -a show -d 'What holds for an agent'
complete -c nervectl -n '__nervectl_at silence' -a add -d 'Notify nobody for a while'
complete -c nervectl -n '__nervectl_at silence' -a list -d 'Those in force'
complete -c nervectl -n '__nervectl_at silence' -a remove -d 'End one'
complete -c nervectl -n '__nervectl_at tolerance' -a add -d 'Mark one as normal'
complete -c nervectl -n '__nervectl_at tolerance' -a list -d 'What is normal now'
complete -c nervectl -n '__nervectl_at tolerance' -a remove -d 'It is no longer normal'
complete -c nervectl -n '__nervectl_at user' -a add -d 'Let somebody log in'
complete -c nervectl -n '__nervectl_at user' -a first -d 'Make the first admin'
complete -c nervectl -n '__nervectl_at user' -a list -d 'Those there are'
complete -c nervectl -n '__nervectl_at user' -a remove -d 'Remove one'
complete -c nervectl -n '__nervectl_at user' -a password -d 'Give one another password'
complete -c nervectl -n '__nervectl_at user' -a role -d 'Give one another role'
complete -c nervectl -n '__nervectl_at user' -a disable -d 'Refuse one for now'
complete -c nervectl -n '__nervectl_at user' -a enable -d 'Let one log in again'
complete -c nervectl -n '__nervectl_at user' -a logout -d 'End every session of one'
complete -c nervectl -n '__nervectl_at user' -a login-link -d 'Print a link that logs in once'
complete -c nervectl -n '__nervectl_at user role' -a 'viewer operator admin'
complete -c nervectl -n '__nervectl_at database backup; or __nervectl_at database restore' -F

for command in agents continuity 'api-token list' audit 'enrollment list' 'policy list' 'silence list' threats 'tolerance list' 'user list'
    complete -c nervectl -n "__nervectl_at $command" -l json -d 'JSON, for programs'
end
complete -c nervectl -n '__nervectl_at continuity' -l agent -x -d 'Only this agent'
complete -c nervectl -n '__nervectl_at continuity' -l since -x -d 'What grew since a time or age'
complete -c nervectl -n '__nervectl_at api-token add' -l scope -x -a 'read threats metrics admin' -d 'What it may do'
for command in 'api-token add' 'enrollment add'
    complete -c nervectl -n "__nervectl_at $command" -l expires -x -d 'How long it holds'
end
for command in audit threats
    complete -c nervectl -n "__nervectl_at $command" -l limit -x -d 'How many at most'
end
complete -c nervectl -n '__nervectl_at threats' -l host -x -d 'Only those of this host'
complete -c nervectl -n '__nervectl_at threats' -l all -d 'Also what is over'
complete -c nervectl -n '__nervectl_at database check' -l quick -d 'Without a look at every row'
complete -c nervectl -n '__nervectl_at enrollment add' -l uses -x -d 'How often it may be used'
for command in 'enrollment add' 'policy set' 'policy remove' 'silence add' 'tolerance add'
    complete -c nervectl -n "__nervectl_at $command" -l label -x -d 'A label, NAME=VALUE'
end
complete -c nervectl -n '__nervectl_at policy set' -l interval -x -d 'Seconds between samples'
complete -c nervectl -n '__nervectl_at policy set' -l rules -r -F -d 'File of rules'
complete -c nervectl -n '__nervectl_at tolerance add' -l threat -x -d 'What this threat is about'
for command in 'silence add' 'tolerance add'
    complete -c nervectl -n "__nervectl_at $command" -l host -x -d 'On one host'
    complete -c nervectl -n "__nervectl_at $command" -l fleet -d 'On every host'
    complete -c nervectl -n "__nervectl_at $command" -l reason -x -d 'Why'
    complete -c nervectl -n "__nervectl_at $command" -l until -x -d 'When it ends'
end
complete -c nervectl -n '__nervectl_at user add' -l role -x -a 'viewer operator admin' -d 'What the person may do'
for command in 'user add' 'user password'
    complete -c nervectl -n "__nervectl_at $command" -l password-file -r -F -d 'Read the password from a file'
end
