package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// The plans for a variable of an imported file.
const (
	importNew     = "new"
	importReplace = "replace" // there is one already, perhaps with the same value
	importLeave   = "leave out"
)

// imported is a variable of a file, as --json prints it.
type imported struct {
	Variable string `json:"variable"`
	Bytes    int    `json:"bytes"`
	Plan     string `json:"plan"`
	Problem  string `json:"problem"` // why it is left out, or wasn't stored
	SecretID string `json:"secret_id"`
	Version  int64  `json:"version"` // 0: it isn't stored

	notes []string
	file  dotenv.Variable
}

func (v *imported) note(text string) { v.notes = append(v.notes, text) }

// readImport reads the variables of a file, sorted, with before in front of their names.
func readImport(file string, only []string, before string, allow []string) ([]imported, error) {
	read, err := dotenv.Read(file)
	if err != nil {
		return nil, err
	}
	var missing []error
	for _, pattern := range only {
		if !slices.ContainsFunc(read, func(v dotenv.Variable) bool { return matches(v.Name, []string{pattern}) }) {
			missing = append(missing, cli.WithHint(errors.New("--only "+cli.Quote(pattern)+": no such variable in "+file), "check its spelling"))
		}
	}
	var list []imported
	for _, v := range read {
		if !matches(v.Name, only) {
			continue
		}
		item := imported{Variable: before + v.Name, Bytes: v.Value.Len(), Plan: importNew, file: v}
		v.Value.Use(func(b []byte) {
			if n := bytes.Count(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")); n > 0 {
				item.note(strconv.Itoa(1+n) + " lines")
			}
		})
		if v.Earlier != nil {
			item.note(fmt.Sprintf("line %d, not %d: the last counts", v.Line, v.Earlier.Line))
		}
		refuse(&item, allow)
		list = append(list, item)
	}
	return list, errors.Join(missing...)
}

// refuse leaves a variable out if the vault would refuse its value, or run its name.
func refuse(v *imported, allow []string) {
	bound := api.Bound{Value: v.file.Value}
	bound.ExposeAsEnv = v.Variable
	built, err := environ.Environment{Pristine: true, Bound: []api.Bound{bound}, AllowNames: allow}.Build()
	refused, isRefused := errors.AsType[*environ.Refused](err)
	switch {
	case isRefused:
		why := refused.Problems[0].Reason
		if refused.Problems[0].Allow != "" {
			why += "; " + refused.Problems[0].Allow + " takes it"
		}
		v.Plan, v.Problem = importLeave, strings.TrimPrefix(why, "is refused: it ")
	case v.Bytes > api.MaxValueBytes:
		v.Plan, v.Problem = importLeave, "is longer than 1 MiB"
	case len(built.Warnings) > 0:
		v.note("changes how programs behave")
	}
}

// compare plans what to do about secrets and bindings that the vault has already.
func compare(ctx context.Context, vault *secrets.Client, list []imported, r api.Resource) error {
	existing, err := vault.List(ctx, secrets.Filter{Resource: r, Scope: "user"})
	if err != nil {
		return err
	}
	bindings, err := vault.ListBindings(ctx, secrets.BindingFilter{Resource: r})
	if err != nil {
		return err
	}
	named, bound := map[string]*api.Secret{}, map[string]string{} // by variable; bound has ids of secrets
	for i := range existing {
		if s := &existing[i]; named[s.Name] == nil && len(attributions(s)) == 0 {
			named[s.Name] = s
		}
	}
	for _, b := range bindings {
		bound[b.ExposeAsEnv] = b.SecretID
	}
	for i := range list {
		v := &list[i]
		s := named[v.Variable]
		switch id := bound[v.Variable]; {
		case v.Plan == importLeave:
		case id != "" && (s == nil || s.ID != id):
			v.Plan, v.Problem = importLeave, "is bound to another secret there: "+id
		case s != nil:
			v.Plan = importReplace
			v.note("version " + strconv.FormatInt(s.Version, 10) + " of " + program.When(s.UpdatedAt))
		}
	}
	return nil
}

// preview prints the plan, and the lines that other programs read differently. It prints no values.
func preview(p *program.Program, list []imported, file string, r api.Resource) error {
	if len(list) == 0 {
		fmt.Fprintf(p.Stderr, "miosa-env: there are no variables in %s\n", cli.OneLine(file))
		return nil
	}
	t := &program.Table{Head: []string{"VARIABLE", "BYTES", "PLAN", "NOTE"}}
	var differences []dotenv.Difference
	named := map[int]string{} // variables by line
	for i := range list {
		v := &list[i]
		notes := v.notes
		if v.Problem != "" {
			notes = append([]string{v.Problem}, notes...)
		}
		t.Add(v.Variable, strconv.Itoa(v.Bytes), v.Plan, strings.Join(notes, ", "))
		if v.Plan != importLeave {
			for _, d := range dotenv.Differences(&v.file) {
				differences = append(differences, d)
				named[d.Line] = v.Variable
			}
		}
	}
	fmt.Fprintf(p.Stderr, "%s, for %s:\n", cli.OneLine(file), r)
	if err := t.Write(p.Stderr); err != nil || len(differences) == 0 {
		return err
	}
	slices.SortStableFunc(differences, func(a, b dotenv.Difference) int { return a.Line - b.Line })
	t = &program.Table{Head: []string{"LINE", "VARIABLE", "PROGRAMS", "WHAT THEY DO"}}
	for _, d := range differences {
		t.Add(strconv.Itoa(d.Line), named[d.Line], strings.Join(d.Readers, ", "), d.Why)
	}
	fmt.Fprintf(p.Stderr, "\nother programs read these lines of %s differently:\n", cli.OneLine(file))
	return t.Write(p.Stderr)
}
