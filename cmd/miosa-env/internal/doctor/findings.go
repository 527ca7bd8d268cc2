package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// The levels of a finding.
const (
	levelFail = "fail" // run doesn't work, or part of it
	levelWarn = "warn" // works, and may not be meant
	levelSkip = "skip" // couldn't be checked, because of a problem
	levelOK   = "ok"
)

var levels = []string{levelFail, levelWarn, levelSkip, levelOK} // in the order they are shown in

// finding is one line of doctor.
type finding struct {
	Level   string `json:"level"`
	Subject string `json:"subject"`
	Found   string `json:"found"` // understood without the subject
	Fix     string `json:"fix,omitempty"`
}

// findings are in the order of the examination.
type findings []finding

func (f *findings) ok(subject, found string) {
	*f = append(*f, finding{levelOK, subject, found, ""})
}
func (f *findings) warn(subject, found, fix string) {
	*f = append(*f, finding{levelWarn, subject, found, fix})
}
func (f *findings) fail(subject, found, fix string) {
	*f = append(*f, finding{levelFail, subject, found, fix})
}

// failed notes an error as problems, each part of a joined one by itself.
func (f *findings) failed(subject string, err error, fix string) {
	f.trouble(levelFail, subject, "", err, fix)
}

// trouble notes an error, each part of a joined one by itself, behind the same words.
func (f *findings) trouble(level, subject, before string, err error, fix string) {
	for _, problem := range cli.Problems(err) {
		for line := range strings.Lines(problem.Error()) {
			*f = append(*f, finding{level, subject, before + cli.OneLine(line), cmp.Or(cli.Hint(problem), fix)})
		}
	}
}

// skip says in one finding what couldn't be checked, and why.
func (f *findings) skip(why string, subjects ...string) {
	*f = append(*f, finding{levelSkip, strings.Join(subjects, ", "), "not checked, because " + why, ""})
}

func (f findings) count(level string) (n int) {
	for _, one := range f {
		if one.Level == level {
			n++
		}
	}
	return n
}

// sorted gives problems first, what is fine last.
func (f findings) sorted() findings {
	return slices.SortedStableFunc(slices.Values(f), func(a, b finding) int {
		return slices.Index(levels, a.Level) - slices.Index(levels, b.Level)
	})
}

// verdictParts is how many problems the verdict names.
const verdictParts = 3

// verdict is the first line: the problems, else the warnings, else that all works.
func (f findings) verdict(works string) string {
	level, said := levelFail, program.Counted(f.count(levelFail), "problem")
	if f.count(levelFail) == 0 {
		level, said = levelWarn, "no problems; "+program.Counted(f.count(levelWarn), "warning")
	}
	var parts []string
	for _, one := range f {
		if one.Level == level {
			parts = append(parts, one.Found)
		}
	}
	switch n := len(parts); {
	case n == 0:
		return "ok: " + works
	case n > verdictParts:
		parts = append(parts[:verdictParts], fmt.Sprintf("and %d more", n-verdictParts))
	}
	return said + ": " + strings.Join(parts, "; ")
}

// write prints the verdict, then each level by itself.
func (f findings) write(w io.Writer, works string, coloured bool) error {
	paint := func(level, text string) string {
		if !coloured {
			return text
		}
		return map[string]string{levelFail: "\x1b[1;31m", levelWarn: "\x1b[33m", levelSkip: "\x1b[2m", levelOK: "\x1b[32m"}[level] + text + "\x1b[0m"
	}
	sorted := f.sorted()
	worst := levelOK
	if len(sorted) > 0 && sorted[0].Level != levelSkip {
		worst = sorted[0].Level
	}
	var out strings.Builder
	out.WriteString(paint(worst, api.RedactKeys(cli.OneLine(f.verdict(works)))) + "\n")
	last := ""
	for _, one := range sorted {
		if one.Level != last {
			out.WriteString("\n")
		}
		last = one.Level
		fmt.Fprintf(&out, "%s  %s: %s\n", paint(one.Level, fmt.Sprintf("%-4s", one.Level)), one.Subject, api.RedactKeys(one.Found))
		if one.Fix != "" {
			fmt.Fprintf(&out, "        fix: %s\n", api.RedactKeys(one.Fix))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
