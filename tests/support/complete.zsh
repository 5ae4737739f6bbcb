# What zsh completes, asked of an interactive one: for each line of standard input, the line and its matches.
#
#   zsh -f complete.zsh FOLDER < LINES
#
# FOLDER has the completion functions under test. The answer is "> LINE", then a match a line.
zmodload zsh/zpty || exit 1
setup=$(mktemp) answers=$(mktemp)
trap 'rm -f $setup $answers; zpty -d z 2> /dev/null' EXIT
cat > $setup << END
PROMPT=
fpath=($1 \$fpath)
autoload -U compinit && compinit -u -D
complete-and-tell() { zle complete-word; print -n "answ""ered"; }
zle -N complete-and-tell
bindkey '^I' complete-and-tell
zstyle ':completion:*' insert-tab false
# Every match goes through here; with -O, -A or -D it only asks.
compadd() {
    if [[ -n \${@[(r)-(O|A|D)]} || -n \${@[(r)-[a-zA-Z]#[OAD]]} ]]; then
        builtin compadd "\$@"
        return
    fi
    typeset -a __hits
    builtin compadd -A __hits "\$@"
    print -rl -- \$__hits >> $answers
    builtin compadd "\$@"
}
print -n "rea""dy"
END
zpty z zsh -f -i
zpty -w z "source $setup"
zpty -r z said '*ready*' || exit 1
while IFS= read -r line; do
    : > $answers
    zpty -w -n z "$line"$'\t'
    zpty -r z said '*answered*' || exit 1
    print -r -- "> $line"
    cat $answers
    zpty -w -n z $'\x15'
done
