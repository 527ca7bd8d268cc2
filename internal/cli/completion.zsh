#compdef PROGRAM
# zsh completion for PROGRAM.

_PROGRAM() {
    local program=${words[1]/#\~\//$HOME/} typed=${(Q)PREFIX} directive line
    local -a out offered space

    whence -- "$program" >/dev/null || program=PROGRAM
    out=("${(@f)$("$program" __complete "${(@Q)words[2,CURRENT-1]}" "$typed" 2>/dev/null)}")
    directive=${out[-1]#:}
    [[ $directive == <-> ]] || return 1
    out[-1]=()

    # Of --flag=value only the value is offered.
    [[ $typed == -*=* ]] && compset -P 1 '*='
    for line in $out; do
        line=${line//:/\\:}
        offered+=(${line/$'\t'/:})
    done
    (( directive & 2 )) && space=(-S '')
    _describe -t words PROGRAM offered "${(@)space}" && return
    (( directive & 4 )) && return 1
    _files
}

# The file is either sourced or, below fpath, the function itself.
if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
