# bash completion for PROGRAM. It needs bash alone, not the package bash-completion.

# Sets reply to a word without its quotes. Nothing in the word is expanded or run.
__FUNCTION_unquote() {
    local rest=$1 quote='' char
    reply=''
    while [[ -n $rest ]]; do
        char=${rest:0:1}
        rest=${rest:1}
        if [[ $char == "$quote" ]]; then
            quote=''
        elif [[ -z $quote && ($char == \' || $char == \") ]]; then
            quote=$char
        elif [[ $char == \\ && $quote != \' && (-z $quote || $rest == [\"\\\$\`]*) ]]; then
            reply+=${rest:0:1}
            rest=${rest:1}
        else
            reply+=$char
        fi
    done
}

__FUNCTION_complete() {
    # bash has broken the line at : and = too (COMP_WORDBREAKS): words are put together again up to the cursor.
    local words=() line=$COMP_LINE n=-1 at=0 from=0 gap word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        gap=${line%%[![:space:]]*}
        at=$((at + ${#gap}))
        if [[ $i == 0 || -n $gap ]]; then
            n=$((n + 1))
            words[n]=''
            from=$at
        fi
        words[n]+=$word
        at=$((at + ${#word}))
        line=${COMP_LINE:at}
    done
    local raw=${words[n]:0:COMP_POINT-from} reply args=() cur replaced=$2
    for ((i = 1; i < n; i++)); do
        __FUNCTION_unquote "${words[i]}"
        args+=("$reply")
    done
    __FUNCTION_unquote "$raw"
    cur=$reply
    if [[ $raw != [\"\']* ]]; then
        __FUNCTION_unquote "$replaced"
        replaced=$reply
    fi

    __FUNCTION_unquote "${words[0]/#\~\//$HOME/}"
    type "$reply" >/dev/null 2>&1 || reply=PROGRAM
    local out directive
    out=$("$reply" __complete "${args[@]}" "$cur" 2>/dev/null) || return
    directive=${out##*:}
    out=${out%:*}
    [[ $directive =~ ^[0-9]+$ ]] || return
    ((directive & 1)) && return

    # Of --flag=value only the value is offered, and of a word only what comes after the last break is replaced.
    [[ $cur == -*=* ]] && cur=${cur#*=}
    local given=${cur%"$replaced"} offered=() about=() width=0 text
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        [[ -n $word && $word == "$cur"* ]] || continue
        text=${word:${#given}}
        [[ $raw == [\"\']* ]] || printf -v text %q "$text"
        offered+=("$text")
        [[ $line == *$'\t'* ]] && about[${#offered[@]}-1]=${line#*$'\t'}
        ((${#text} > width)) && width=${#text}
    done <<<"$out"

    COMPREPLY=("${offered[@]}")
    if ((${#offered[@]} == 0)); then
        ((directive & 4)) && compopt +o default 2>/dev/null
        return
    fi
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    # Where they are only listed, descriptions stand beside them.
    if ((${#offered[@]} > 1 && (COMP_TYPE == 63 || COMP_TYPE == 33 || COMP_TYPE == 64))); then
        for i in "${!about[@]}"; do
            printf -v 'COMPREPLY[i]' '%-*s  (%s)' "$width" "${offered[i]}" "${about[i]}"
        done
    fi
}

complete -o default -F __FUNCTION_complete PROGRAM
