package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func importCommand(p *program.Program) *cli.Command {
	var (
		resource    api.Resource
		only, allow []string
		before      string
		yes, asJSON bool
	)
	return vaultCommand(p, &cli.Command{
		Use:   "import [FLAG...] --bind RESOURCE FILE",
		Short: "Store the variables of a .env or JSON file, and bind them",
		Long: `Stores each variable of a .env file, or each member of a JSON object, as a secret of one sandbox or
computer, and binds it there under its name. It needs a tenant key, as miosa-env secrets does. Secrets
of other resources do not change, even if they have the same name.

First it shows a plan without values and asks for confirmation; without a terminal, --yes is required.
"replace" means that the secret exists; whether its value is the same is unknown, because no call
returns a value. It also lists the lines that npm dotenv, compose, godotenv or a shell would read
differently, for example because nothing in a value is expanded here.

Variables that run would refuse, because they run code or redirect traffic, are left out unless
--allow-name lists them; so are variables that are bound to another secret there. The command fails if
a variable could not be stored, or with --yes if one was left out.`,
		Example: `  miosa-env import .env --bind sandbox:sb_1
  miosa-env import .env --bind sandbox:sb_1 --only 'DB_*' --yes`,
		Args: oneArgument("the file"),
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "bind", "`RESOURCE` the resource to bind to: sandbox:ID or computer:ID")
			f.Var(setting.Patterns(&only), "only", "`NAMES` use only variables with these names, or names that match a pattern such as 'DB_*'")
			f.Var(setting.Prefix(&before), "prefix", "`TEXT` prepend this to each name; --only matches the name without it")
			f.Var(setting.List(&allow), "allow-name", "`NAMES` store these variables, although they run code or redirect traffic; run needs the same flag")
			addYesFlag(f, &yes)
			addJSONFlag(f, &asJSON, "a JSON list of what was done")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		r := resource
		if r == (api.Resource{}) {
			return cli.Usage(errors.New("where to bind the variables is missing"), "add --bind sandbox:ID or --bind computer:ID")
		}
		list, err := readImport(inv.Args[0], only, before, allow)
		defer func() {
			for i := range list {
				list[i].file.Wipe()
			}
		}()
		if err != nil {
			return err
		}
		if err := compare(ctx, vault, list, r); err != nil {
			return err
		}
		if err := preview(p, list, inv.Args[0], r); err != nil {
			return err
		}
		count := 0
		for i := range list {
			if list[i].Plan != importLeave {
				count++
			}
		}
		if count > 0 {
			if err := confirm(p, yes, "Store "+program.Counted(count, "secret")+" for "+r.String()+"?"); err != nil {
				return err
			}
		}
		err = storeAll(ctx, vault, inv, list, r)
		return reportImport(p, list, r, yes || count == 0, asJSON, err)
	})
}

// storeAll stores the variables that aren't left out. It continues after an error about one secret, and stops after an
// error that the others would have too, which it returns.
func storeAll(ctx context.Context, vault *secrets.Client, inv *cli.Invocation, list []imported, r api.Resource) (err error) {
	for i := range list {
		v := &list[i]
		switch {
		case v.Plan == importLeave:
			continue
		case err != nil:
			v.Problem = "not tried"
			continue
		}
		s, _, problem := vault.Set(ctx, secrets.Set{Name: v.Variable, Value: v.file.Value, Type: "env_var", Resource: r, ExposeAsEnv: v.Variable})
		if problem == nil || errors.Is(problem, secrets.ErrNotBound) {
			v.SecretID, v.Version = s.ID, s.Version
		} else if !errors.Is(problem, api.ErrInvalid) && !errors.Is(problem, api.ErrConflict) && !errors.Is(problem, api.ErrTooLarge) {
			err = problem
		}
		if problem != nil {
			v.Problem = inv.NameFields(problem).Error()
		}
	}
	return err
}

// reportImport prints what was done, and returns an error for each variable that isn't stored or bound. Variables that were
// left out count only if the user hasn't been asked about them. err is the error of storeAll.
func reportImport(p *program.Program, list []imported, r api.Resource, unasked, asJSON bool, err error) error {
	done := map[string]int{}
	var problems []error
	for _, v := range list {
		switch {
		case v.SecretID != "":
			done[v.Plan]++
			if v.Problem != "" {
				problems = append(problems, errors.New(cli.Quote(v.Variable)+": "+v.Problem))
			}
		case v.Plan != importLeave || unasked:
			problems = append(problems, errors.New(cli.Quote(v.Variable)+" isn't stored: "+v.Problem))
		}
	}
	if asJSON {
		problems = append(problems, printJSONList(p, list))
	} else {
		problems = append(problems, printDone(p, fmt.Sprintf("stored %s for %s: %d new, %d replaced",
			program.Counted(done[importNew]+done[importReplace], "secret"), r, done[importNew], done[importReplace])))
	}
	all := errors.Join(problems...)
	if hint := cli.Hint(err); hint != "" {
		return cli.WithHint(all, hint)
	}
	return all
}
