package dotenv

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Readers of .env files whose rules Differences knows.
const (
	npm      = "npm dotenv" // 18
	compose  = "compose"    // compose-go 2.16
	godotenv = "godotenv"   // 1.5
	shell    = "sh"         // set -a; . FILE
)

// Difference says that other readers take another value from a line, no variable, or an error.
type Difference struct {
	Line    int
	Readers []string
	Why     string // what they do differently
}

// Differences lists where other readers differ from Read on v, starting with earlier assignments to its name.
// Members of a JSON object have none.
func Differences(v *Variable) (all []Difference) {
	for ; v != nil && !v.spelling.json; v = v.Earlier {
		v.spelling.raw.Use(func(raw []byte) {
			a := assignment{v, string(raw)}
			for _, r := range rules {
				var readers []string
				for _, at := range []struct {
					reader string
					differ func(assignment) bool
				}{{npm, r.npm}, {compose, r.compose}, {godotenv, r.godotenv}, {shell, r.shell}} {
					if at.differ != nil && at.differ(a) {
						readers = append(readers, at.reader)
					}
				}
				if len(readers) > 0 {
					all = append(all, Difference{v.Line, readers, r.why})
				}
			}
		})
	}
	slices.SortStableFunc(all, func(d, e Difference) int { return cmp.Compare(d.Line, e.Line) })
	return all
}

// rules are the known differences and the readers each applies to. Each has an example in differences_test.go,
// which runs the readers.
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

func exportIsName(a assignment) bool {
	return a.Name == "export" && a.spelling.before && !a.spelling.export
}

func isShellName(name string) bool {
	return !strings.ContainsAny(name, ".-") && (name[0] < '0' || name[0] > '9')
}

// shellsOwn are variables that sh or bash sets itself, or that are read-only.
var shellsOwn = []string{
	"BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_LINENO",
	"BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS",
	"EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS",
	"SHLVL", "SRANDOM", "UID", "_",
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
