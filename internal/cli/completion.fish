# fish completion for PROGRAM.

# Sets __FUNCTION_words, or returns false if files are to be offered.
function __FUNCTION_complete
    set -l args (commandline -opc)
    set -l typed (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $args[1])
    type -q -- $program; or set program PROGRAM
    set -l unquoted (string unescape -- $typed); and set typed $unquoted
    set -l out ($program __complete $args[2..-1] "$typed" 2>/dev/null)
    set -l directive $out[-1]
    set -e out[-1]
    # fish replaces --flag=value as a whole, and adds no space after = and :.
    set -l flag (string match -r -- '^-[^=]*=' $typed)
    set -g __FUNCTION_words "$flag"$out
    string match -q -r '^:[4-7]$' -- $directive
end

complete -c PROGRAM -e
complete -c PROGRAM -n __FUNCTION_complete -f -a '$__FUNCTION_words'
