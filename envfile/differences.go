package envfile

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// Readers of .env files whose rules Differences knows.
const (
	NPM      = "npm dotenv" // 18
	Compose  = "compose"    // compose-go 2.16
	Godotenv = "godotenv"   // 1.5
	Shell    = "sh"         // set -a; . FILE
)

// Difference is that other readers take another value from a line, no variable at all, or an error.
type Difference struct {
	Line    int
	Readers []string
	Why     string // what they do
}

// Differences lists where other readers differ, going by how the variable is written, and first how earlier
// assignments to its name are. One of a JSON object has none.
func Differences(v *Variable) (all []Difference) {
	if v.spelling.json {
		return nil
	}
	var assignments []*Variable
	for ; v != nil; v = v.Earlier {
		assignments = append(assignments, v)
	}
	for _, v := range slices.Backward(assignments) {
		all = append(all, v.differences()...)
	}
	return all
}

// differences is Differences without earlier assignments.
func (v *Variable) differences() (all []Difference) {
	v.spelling.raw.Use(func(raw []byte) {
		a := assignment{v, string(raw)}
		for _, r := range rules {
			var readers []string
			for _, at := range []struct {
				reader string
				differ func(assignment) bool
			}{{NPM, r.npm}, {Compose, r.compose}, {Godotenv, r.godotenv}, {Shell, r.shell}} {
				if at.differ != nil && at.differ(a) {
					readers = append(readers, at.reader)
				}
			}
			if len(readers) > 0 {
				all = append(all, Difference{v.Line, readers, r.why})
			}
		}
	})
	return all
}

// spelling is how an assignment is written.
type spelling struct {
	quote byte      // ', " or 0
	raw   api.Value // what is between the quotes; without quotes, what is before the comment

	export bool // before the name
	before bool // white space before the =
	after  bool // white space after it, and a value
	hash   byte // the blank before the comment; 0: there is none
	hashes bool // the comment has another # after white space
	crlf   bool // the line ends with CR LF
	bom    bool // the first assignment of a file with a byte order mark
	json   bool // it is a member of a JSON object instead
}

// is notes the value.
func (s *spelling) is(quote byte, raw []byte, crlf bool) {
	s.quote, s.raw, s.crlf = quote, api.NewValue(raw), crlf
}

// comments notes the comment that begins at a place of a line.
func (s *spelling) comments(line []byte, at int) {
	s.hash = ' '
	if at > 0 {
		s.hash = line[at-1]
	}
	s.hashes = hashAfter(string(line[at+1:]), " \t"+otherSpace)
}

// empty returns whether nothing is written behind the =.
func (s *spelling) empty() bool { return s.quote == 0 && s.raw.Len() == 0 }

// assignment is what rules look at.
type assignment struct {
	*Variable
	raw string
}

func (a assignment) bare() bool { return a.spelling.quote == 0 }

// rules are the differences, each with the readers that it is of. Each has an example in differences_test.go,
// which asks the readers themselves.
var rules = []struct {
	why                           string
	npm, compose, godotenv, shell func(assignment) bool
}{
	{
		why:      "refuse the byte order mark",
		godotenv: func(a assignment) bool { return a.spelling.bom },
		shell:    func(a assignment) bool { return a.spelling.bom && a.Line == 1 },
	}, {
		why:      "refuse this name, or set a variable of their own by it",
		npm:      func(a assignment) bool { return a.Name == "__proto__" },
		compose:  exportIsName,
		godotenv: func(a assignment) bool { return exportIsName(a) || strings.Contains(a.Name, "-") },
		shell:    func(a assignment) bool { return !isShellName(a.Name) || slices.Contains(shellsOwn, a.Name) },
	}, {
		why:   "allow no white space beside the =",
		shell: func(a assignment) bool { return a.spelling.before || a.spelling.after },
	}, {
		why: "end the value at the first #",
		npm: func(a assignment) bool { return a.bare() && strings.Contains(a.raw, "#") },
	}, {
		why: "begin the comment elsewhere",
		compose: func(a assignment) bool {
			return a.bare() && a.spelling.hash != 0 && (a.raw == "" || a.spelling.hash == '\t')
		},
		godotenv: func(a assignment) bool {
			return a.bare() && (a.spelling.hash != 0 && (a.raw == "" || a.spelling.hashes) || hashAfter(a.raw, otherSpace))
		},
	}, {
		why:      "replace what follows a $",
		compose:  func(a assignment) bool { return a.expands(composeExpands) },
		godotenv: func(a assignment) bool { return a.expands(godotenvExpands) },
		shell: func(a assignment) bool {
			return a.expands(shellExpands) || a.spelling.quote == '"' && hasUnescaped(a.raw, '`')
		},
	}, {
		why:     "know other escapes",
		npm:     func(a assignment) bool { return a.escapes("\\\"$`t") },
		compose: func(a assignment) bool { return a.escapes("`abcfv0") },
		godotenv: func(a assignment) bool {
			return a.bare() && strings.Contains(a.raw, `\$`) || a.escapesBeside("\\\"$`nr") || strings.Contains(a.raw, `\\$`) && a.spelling.quote == '"'
		},
		shell: func(a assignment) bool { return a.escapes("nrt\r\n") },
	}, {
		why:     "misread a backslash before the closing quote",
		npm:     func(a assignment) bool { return a.spelling.quote == '\'' && strings.HasSuffix(a.raw, `\`) },
		compose: func(a assignment) bool { return a.spelling.quote == '\'' && escapedAt(a.raw, len(a.raw)) },
		godotenv: func(a assignment) bool {
			return !a.bare() && (strings.HasSuffix(a.raw, `\`) || a.spelling.quote == '"' && strings.HasSuffix(a.raw, `\"`))
		},
	}, {
		why: "act on characters that aren't quoted",
		shell: func(a assignment) bool {
			return a.bare() && (strings.ContainsAny(a.raw, " \t'\"\\`;&|<>()") || strings.HasPrefix(a.raw, "~") || strings.Contains(a.raw, ":~") ||
				a.spelling.export && strings.ContainsAny(a.raw, "*?[{~"))
		},
	}, {
		why: "take more kinds of white space off",
		npm: func(a assignment) bool {
			return a.bare() && (beginsOrEnds(a.raw, isSpaceJS) || strings.ContainsAny(a.raw, "\u2028\u2029"))
		},
		compose: func(a assignment) bool {
			return a.bare() && (beginsOrEnds(a.raw, isOtherSpace) || beginsOrEnds(a.raw, unicode.IsSpace))
		},
		godotenv: func(a assignment) bool { return a.bare() && beginsOrEnds(a.raw, isOtherSpace) },
	}, {
		why:     "treat carriage returns differently",
		npm:     func(a assignment) bool { return strings.Contains(strings.ReplaceAll(a.raw, "\r\n", ""), "\r") },
		compose: func(a assignment) bool { return strings.Contains(a.raw, "\r\n") },
		shell: func(a assignment) bool {
			return a.spelling.crlf && a.spelling.hash == 0 || strings.Contains(a.raw, "\r\n")
		},
	},
}

// otherSpace is what Go's readers count as white space beside blanks and line ends.
const otherSpace = "\v\f\u0085\u00a0"

func isOtherSpace(r rune) bool { return strings.ContainsRune(otherSpace, r) }

// isSpaceJS is what JavaScript's trim takes off.
func isSpaceJS(r rune) bool { return r == '\ufeff' || unicode.IsSpace(r) && r != '\u0085' }

func exportIsName(a assignment) bool {
	return a.Name == "export" && a.spelling.before && !a.spelling.export
}

func isShellName(name string) bool {
	return !strings.ContainsAny(name, ".-") && (name[0] < '0' || name[0] > '9')
}

// shellsOwn are variables that sh or bash sets by itself, or lets nobody set.
var shellsOwn = []string{
	"BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_LINENO",
	"BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS",
	"EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS",
	"SHLVL", "SRANDOM", "UID", "_",
}

// hashAfter returns whether a # follows one of some characters.
func hashAfter(s, space string) bool {
	for i := range len(s) {
		if s[i] == '#' && i > 0 {
			if r, _ := utf8.DecodeLastRuneInString(s[:i]); strings.ContainsRune(space, r) {
				return true
			}
		}
	}
	return false
}

func beginsOrEnds(s string, is func(rune) bool) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return s != "" && (is(first) || is(last))
}

// escapes returns whether, in double quotes, a backslash escapes one of some characters.
func (a assignment) escapes(chars string) bool {
	return a.anyEscape(func(c byte) bool { return strings.IndexByte(chars, c) >= 0 })
}

// escapesBeside returns whether, in double quotes, a backslash escapes any other character.
func (a assignment) escapesBeside(chars string) bool {
	return a.anyEscape(func(c byte) bool { return strings.IndexByte(chars, c) < 0 })
}

func (a assignment) anyEscape(is func(byte) bool) bool {
	for i := 0; a.spelling.quote == '"' && i+1 < len(a.raw); i++ {
		if a.raw[i] == '\\' {
			if i++; is(a.raw[i]) {
				return true
			}
		}
	}
	return false
}

// escapedAt returns whether an odd number of backslashes stands before at.
func escapedAt(raw string, at int) bool {
	before := raw[:at]
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

func hasUnescaped(raw string, c byte) bool {
	for i := range len(raw) {
		if raw[i] == c && !escapedAt(raw, i) {
			return true
		}
	}
	return false
}

// expands returns whether a $ that nothing escapes stands before something that a reader expands.
func (a assignment) expands(by func(after string) bool) bool {
	for i := range len(a.raw) {
		if a.raw[i] == '$' && (a.bare() || a.spelling.quote == '"' && !escapedAt(a.raw, i)) && by(a.raw[i+1:]) {
			return true
		}
	}
	return false
}

func composeExpands(after string) bool {
	return strings.HasPrefix(after, `\$`) || after != "" && (strings.IndexByte("_{$", after[0]) >= 0 || isLetter(after[0]))
}

func godotenvExpands(after string) bool {
	after = strings.TrimPrefix(strings.TrimPrefix(after, "("), "{")
	return after != "" && (after[0] == '_' || isDigit(after[0]) || 'A' <= after[0] && after[0] <= 'Z')
}

func shellExpands(after string) bool {
	return after != "" && (strings.IndexByte("_{([*@#?$!-", after[0]) >= 0 || isDigit(after[0]) || isLetter(after[0]))
}
