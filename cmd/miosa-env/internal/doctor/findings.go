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
	levelFail = "fail" // run doesn't work completely
	levelWarn = "warn" // run works, perhaps not as intended
	levelSkip = "skip" // not checked, because of a problem
	levelOK   = "ok"
)

// finding is a result of doctor.
type finding struct {
	Level   string `json:"level"`
	Subject string `json:"subject"`
	Found   string `json:"found"` // can be understood without the subject
	Fix     string `json:"fix,omitempty"`
}

// findings are in the order of the checks.
type findings []finding

func (f *findings) add(level, subject, found, fix string) {
	*f = append(*f, finding{level, subject, found, fix})
}
func (f *findings) ok(subject, found string)        { f.add(levelOK, subject, found, "") }
func (f *findings) warn(subject, found, fix string) { f.add(levelWarn, subject, found, fix) }
func (f *findings) fail(subject, found, fix string) { f.add(levelFail, subject, found, fix) }

// failed adds an error as problems.
func (f *findings) failed(subject string, err error, fix string) {
	f.trouble(levelFail, subject, "", err, fix)
}

// trouble adds a finding for each part of an error, with before in front of each. fix is for parts that have no hint.
func (f *findings) trouble(level, subject, before string, err error, fix string) {
	for _, problem := range cli.Problems(err) {
		for line := range strings.Lines(problem.Error()) {
			f.add(level, subject, before+cli.OneLine(line), cmp.Or(cli.Hint(problem), fix))
		}
	}
}

// skip adds a finding for subjects that can't be checked.
func (f *findings) skip(why string, subjects ...string) {
	f.add(levelSkip, strings.Join(subjects, ", "), "not checked, because "+why, "")
}

// at returns the findings of a level.
func (f findings) at(level string) (found findings) {
	for _, one := range f {
		if one.Level == level {
			found = append(found, one)
		}
	}
	return found
}

func (f findings) count(level string) int { return len(f.at(level)) }

// sorted returns problems first, then warnings, and what is fine last.
func (f findings) sorted() findings {
	return slices.Concat(f.at(levelFail), f.at(levelWarn), f.at(levelSkip), f.at(levelOK))
}

// verdict returns the first line, which names the first problems or else the first warnings, and the worst level.
func (f findings) verdict(works string) (line, worst string) {
	const named = 3
	found, worst := f.at(levelFail), levelFail
	line = program.Counted(len(found), "problem")
	if len(found) == 0 {
		found, worst = f.at(levelWarn), levelWarn
		line = "no problems; " + program.Counted(len(found), "warning")
	}
	if len(found) == 0 {
		return "ok: " + works, levelOK
	}
	separator := ": "
	for _, one := range found[:min(len(found), named)] {
		line += separator + one.Found
		separator = "; "
	}
	if len(found) > named {
		line += fmt.Sprintf("; and %d more", len(found)-named)
	}
	return line, worst
}

// write prints the verdict, then the findings of each level.
func (f findings) write(w io.Writer, works string, coloured bool) error {
	paint := func(level, text string) string {
		if !coloured {
			return text
		}
		return map[string]string{levelFail: "\x1b[1;31m", levelWarn: "\x1b[33m", levelSkip: "\x1b[2m", levelOK: "\x1b[32m"}[level] + text + "\x1b[0m"
	}
	verdict, worst := f.verdict(works)
	var out strings.Builder
	out.WriteString(paint(worst, api.RedactKeys(cli.OneLine(verdict))) + "\n")
	last := ""
	for _, one := range f.sorted() {
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
