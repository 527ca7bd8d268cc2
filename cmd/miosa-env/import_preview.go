package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// preview shows what would be done, and which lines other programs would read differently; no values.
func (p *program) preview(list []imported, file string, r api.Resource) error {
	if len(list) == 0 {
		fmt.Fprintf(p.stderr, "miosa-env: there are no variables in %s\n", cli.OneLine(file))
		return nil
	}
	t := &table{head: []string{"VARIABLE", "BYTES", "PLAN", "NOTE"}}
	var differences []dotenv.Difference
	named := map[int]string{} // variables by line
	differ := &table{head: []string{"LINE", "VARIABLE", "PROGRAMS", "WHAT THEY DO"}}
	for i := range list {
		v := &list[i]
		t.add(v.Variable, strconv.Itoa(v.Bytes), v.Plan, strings.Trim(v.Problem+", "+v.note, ", "))
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
		differ.add(strconv.Itoa(d.Line), named[d.Line], strings.Join(d.Readers, ", "), d.Why)
	}
	fmt.Fprintf(p.stderr, "%s, for %s:\n", cli.OneLine(file), r)
	if err := t.writeTo(p.stderr); err != nil || len(differ.rows) == 0 {
		return err
	}
	fmt.Fprintf(p.stderr, "\nother programs read these lines of %s differently:\n", cli.OneLine(file))
	return differ.writeTo(p.stderr)
}
