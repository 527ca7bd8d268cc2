package tenant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// preview shows what would be done, and which lines other programs would read differently; no values.
func preview(p *program.Program, list []imported, file string, r api.Resource) error {
	if len(list) == 0 {
		fmt.Fprintf(p.Stderr, "miosa-env: there are no variables in %s\n", cli.OneLine(file))
		return nil
	}
	t := &program.Table{Head: []string{"VARIABLE", "BYTES", "PLAN", "NOTE"}}
	var differences []dotenv.Difference
	named := map[int]string{} // variables by line
	differ := &program.Table{Head: []string{"LINE", "VARIABLE", "PROGRAMS", "WHAT THEY DO"}}
	for i := range list {
		v := &list[i]
		t.Add(v.Variable, strconv.Itoa(v.Bytes), v.Plan, strings.Trim(v.Problem+", "+v.note, ", "))
		if v.Plan == importLeave {
			continue
		}
		for _, d := range dotenv.Differences(&v.file) {
			differences = append(differences, d)
			named[d.Line] = v.Variable
		}
	}
	slices.SortStableFunc(differences, func(a, b dotenv.Difference) int { return a.Line - b.Line })
	for _, d := range differences {
		differ.Add(strconv.Itoa(d.Line), named[d.Line], strings.Join(d.Readers, ", "), d.Why)
	}
	fmt.Fprintf(p.Stderr, "%s, for %s:\n", cli.OneLine(file), r)
	if err := t.Write(p.Stderr); err != nil || len(differ.Rows) == 0 {
		return err
	}
	fmt.Fprintf(p.Stderr, "\nother programs read these lines of %s differently:\n", cli.OneLine(file))
	return differ.Write(p.Stderr)
}
