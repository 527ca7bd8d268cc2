package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// What becomes of a variable of an imported file.
const (
	importNew     = "new"
	importReplace = "replace" // there is one already; whether its value is another can't be known
	importLeave   = "leave out"
)

// imported is one variable of a file, as --json prints it.
type imported struct {
	Variable string `json:"variable"`
	Bytes    int    `json:"bytes"`
	Plan     string `json:"plan"`    // new, replace or leave out
	Problem  string `json:"problem"` // why it is left out, or wasn't stored
	SecretID string `json:"secret_id"`
	Version  int64  `json:"version"` // what it has now; 0 where it isn't stored

	note string
	file dotenv.Variable
}

// remark adds to the note.
func (v *imported) remark(text string) {
	if v.note != "" {
		v.note += ", "
	}
	v.note += text
}

func importCommand(p *program.Program) *cobra.Command {
	var (
		resource    resourceFlag
		only, allow program.Words
		before      program.Prefix
		yes, asJSON bool
	)
	c := manager(p, &cobra.Command{
		Use:   "import [FLAG...] --bind RESOURCE FILE",
		Short: "Store the variables of a .env or JSON file, and bind them",
		Long: `Stores each variable of a .env file, or each member of a JSON object, as a secret of one sandbox or
computer, and binds it there under its name. It takes a tenant key, as miosa-env secrets does. Secrets of
other resources stay as they are, whatever they are called.

First it shows what it would do, without values, and asks; where there is no terminal to ask at, it
wants --yes. "replace" means that there is one already; whether its value is the same can't be known,
since no call answers a value. It also lists the lines that npm dotenv, compose, godotenv or a shell
would read differently: nothing in a value is expanded here, for one. Variables that run would refuse
to set, since they run code or move traffic, are left out unless --allow-name names them; so are
those that stand for another secret there. Where something was left out or not stored that nobody
was shown before, the exit code says so.`,
		Example: `  miosa-env import .env --bind sandbox:sb_1
  miosa-env import .env --bind sandbox:sb_1 --only 'DB_*' --yes`,
		Args: oneArgument("the file"),
	}, func(ctx context.Context, vault *secrets.Client, args []string) error {
		if resource.Resource == (api.Resource{}) {
			return cli.Usage(errors.New("where to bind the variables is missing"), "add --bind sandbox:ID or --bind computer:ID")
		}
		list, err := readImport(args[0], only, string(before), allow)
		defer func() {
			for i := range list {
				list[i].file.Wipe()
			}
		}()
		if err != nil {
			return err
		}
		if err := compare(ctx, vault, list, resource.Resource); err != nil {
			return err
		}
		if err := preview(p, list, args[0], resource.Resource); err != nil {
			return err
		}
		count := 0
		for _, v := range list {
			if v.Plan != importLeave {
				count++
			}
		}
		if count > 0 {
			if err := confirm(p, yes, "Store "+program.Counted(count, "secret")+" for "+resource.Resource.String()+"?"); err != nil {
				return err
			}
		}
		err = storeAll(ctx, vault, list, resource.Resource)
		return tellImport(p, list, resource.Resource, yes || count == 0, asJSON, err)
	})
	f := c.Flags()
	f.Var(&resource, "bind", "`RESOURCE` where: sandbox:ID or computer:ID")
	f.Var(&only, "only", "`NAMES` take only variables with these names, or that match a pattern such as 'DB_*'")
	f.Var(&before, "prefix", "`TEXT` put this before each name; --only means names without it")
	f.Var(&allow, "allow-name", "`NAMES` store these though they run code or move traffic: run wants the same flag")
	addYesFlag(f, &yes)
	addJSONFlag(f, &asJSON, "a JSON list of what was done")
	completeWords(p, c)
	return c
}

// readImport reads a file's variables, sorted, under the names they are to have.
func readImport(file string, only []string, before string, allow []string) ([]imported, error) {
	read, err := dotenv.Read(file)
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(only))
	var list []imported
	for _, v := range read {
		keep := len(only) == 0
		for i, pattern := range only {
			match, err := path.Match(pattern, v.Name)
			if err != nil {
				return nil, cli.Usage(errors.New("--only "+cli.Quote(pattern)+": not a pattern"), "patterns look like 'DB_*'")
			}
			if match || pattern == v.Name {
				keep, used[i] = true, true
			}
		}
		if keep {
			item := imported{Variable: before + v.Name, Bytes: v.Value.Len(), Plan: importNew, file: v}
			v.Value.Use(func(b []byte) {
				if n := bytes.Count(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")); n > 0 {
					item.remark(strconv.Itoa(1+n) + " lines")
				}
			})
			if v.Earlier != nil {
				item.remark(fmt.Sprintf("line %d, not %d: the last counts", v.Line, v.Earlier.Line))
			}
			list = append(list, item)
		}
	}
	var missing []error
	for i, pattern := range only {
		if !used[i] {
			missing = append(missing, cli.WithHint(errors.New("--only "+cli.Quote(pattern)+": no such variable in "+file), "check its spelling"))
		}
	}
	refuse(list, allow)
	return list, errors.Join(missing...)
}

// refuse leaves out what can't be stored, or what run would refuse to set.
func refuse(list []imported, allow []string) {
	for i := range list {
		v := &list[i]
		leave := func(why string) { v.Plan, v.Problem = importLeave, why }
		bound := api.Bound{Value: v.file.Value}
		bound.ExposeAsEnv = v.Variable
		built, err := inject.Environment{Pristine: true, Bound: []api.Bound{bound}, AllowNames: allow}.Build()
		refused, isRefused := errors.AsType[*inject.Refused](err)
		switch {
		case isRefused:
			why := refused.Problems[0].Reason
			if refused.Problems[0].Allow != "" {
				why += "; " + refused.Problems[0].Allow + " takes it"
			}
			leave(strings.TrimPrefix(why, "is refused: it "))
		case v.Bytes > api.MaxValueBytes:
			leave("is longer than 1 MiB")
		case len(built.Warnings) > 0:
			v.remark("changes how programs behave")
		}
	}
}

// compare finds out what stands at the vault already.
func compare(ctx context.Context, vault *secrets.Client, list []imported, r api.Resource) error {
	standing, err := vault.List(ctx, secrets.Filter{Resource: r, Scope: "user"})
	if err != nil {
		return err
	}
	bound, err := vault.ListBindings(ctx, secrets.BindingFilter{Resource: r})
	if err != nil {
		return err
	}
	for i := range list {
		v := &list[i]
		id := ""
		at := slices.IndexFunc(standing, func(s api.Secret) bool { return s.Name == v.Variable && !attributed(&s) })
		if at >= 0 {
			id = standing[at].ID
		}
		taken := slices.IndexFunc(bound, func(b api.Binding) bool { return b.ExposeAsEnv == v.Variable })
		switch {
		case v.Plan == importLeave:
		case taken >= 0 && bound[taken].SecretID != id:
			v.Plan, v.Problem = importLeave, "is bound to another secret there: "+bound[taken].SecretID
		case at >= 0:
			v.Plan = importReplace
			v.remark("version " + strconv.FormatInt(standing[at].Version, 10) + " of " + program.When(standing[at].UpdatedAt, time.Now()))
		}
	}
	return nil
}

// attributed tells whether a secret is somebody's, which what import stores is not.
func attributed(s *api.Secret) bool {
	for _, id := range []*string{s.WorkspaceID, s.OwnerUserID, s.ExternalUserID, s.ExternalWorkspaceID} {
		if id != nil && *id != "" {
			return true
		}
	}
	return false
}

// storeAll stores what isn't left out. It goes on after a refusal, which is about one secret, and stops
// where no other could be stored either.
func storeAll(ctx context.Context, vault *secrets.Client, list []imported, r api.Resource) error {
	for i := range list {
		v := &list[i]
		if v.Plan == importLeave {
			continue
		}
		s, _, err := vault.Set(ctx, secrets.Set{Name: v.Variable, Value: v.file.Value, Type: "env_var", Resource: r, ExposeAsEnv: v.Variable})
		switch {
		case err == nil:
			v.SecretID, v.Version = s.ID, s.Version
		case errors.Is(err, secrets.ErrNotBound):
			v.SecretID, v.Version, v.Problem = s.ID, s.Version, err.Error()
		case errors.Is(err, api.ErrInvalid), errors.Is(err, api.ErrConflict), errors.Is(err, api.ErrTooLarge):
			v.Problem = err.Error()
		default:
			v.Problem = err.Error()
			for j := range list[i+1:] {
				if rest := &list[i+1+j]; rest.Plan != importLeave {
					rest.Problem = "not tried"
				}
			}
			return err
		}
	}
	return nil
}

// tellImport says what was done. unseen is that nobody has agreed to what is left out.
func tellImport(p *program.Program, list []imported, r api.Resource, unseen, asJSON bool, err error) error {
	done := map[string]int{}
	var problems []error
	for _, v := range list {
		switch {
		case v.SecretID != "":
			done[v.Plan]++
			if v.Problem != "" {
				problems = append(problems, errors.New(cli.Quote(v.Variable)+": "+v.Problem))
			}
		case v.Plan != importLeave || unseen:
			problems = append(problems, errors.New(cli.Quote(v.Variable)+" isn't stored: "+v.Problem))
		}
	}
	if asJSON {
		problems = append(problems, printJSON(p, orEmpty(list)))
	} else {
		problems = append(problems, say(p, fmt.Sprintf("stored %s for %s: %d new, %d replaced",
			program.Counted(done[importNew]+done[importReplace], "secret"), r, done[importNew], done[importReplace])))
	}
	if all := errors.Join(problems...); err == nil {
		return all
	} else if hint := cli.Hint(err); hint != "" {
		return cli.WithHint(all, hint)
	} else {
		return all
	}
}
