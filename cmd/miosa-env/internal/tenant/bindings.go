package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func bindingsCommand(p *program.Program) *cli.Command {
	return group("bindings", "Bind secrets to sandboxes and computers, as variables",
		`A binding assigns a secret to a variable on a sandbox or computer. These commands need a tenant key,
as miosa-env secrets does; miosa-env list shows the bindings of the machine where it runs.`,
		bindingsCreateCommand(p), bindingsListCommand(p), bindingsDeleteCommand(p),
	)
}

func bindingsCreateCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var delivery string
	var narrow egressFlags
	var to target
	completeTarget := completeResources(p, "=")
	completeSecret := cli.First(completeWords(p, secretIDs))
	return vaultCommand(p, &cli.Command{
		Use:   "create [FLAG...] SECRET RESOURCE=NAME",
		Short: "Bind a secret to a sandbox or computer, as a variable",
		Long: `Binds a secret to a sandbox or computer as a variable. An agent and commands with --on-change there
get it at once. Repeating a binding changes nothing; a variable that is bound to another secret there
is an error. The --egress flags narrow where a broker may send the value for this binding; the
secret's own rule must allow the request too.`,
		Example: `  miosa-env bindings create github sandbox:sb_1=GH_TOKEN`,
		Args: func(args []string) (err error) {
			switch len(args) {
			case 0:
				return errors.New("the secret's id or name is missing")
			case 1:
				return errors.New("where to bind it is missing: sandbox:ID=NAME or computer:ID=NAME")
			case 2:
				if to, err = parseTarget(args[1]); err != nil {
					return fmt.Errorf("where to bind it: %w", err)
				}
				return nil
			}
			return errors.New("unexpected argument " + cli.Quote(args[2]))
		},
		Complete: func(ctx context.Context, inv *cli.Invocation, typed string) []string {
			if len(inv.Args) == 1 {
				return completeTarget(ctx, inv, typed)
			}
			return completeSecret(ctx, inv, typed)
		},
		Flags: func(f *pflag.FlagSet) {
			f.Var(setting.Choice(&delivery, []string{api.DeliverValue, api.DeliverPlaceholder}), "delivery", "`WORD` value (the default), or placeholder: the variable contains a placeholder that a broker replaces")
			narrow.addFlags(f, false)
			addJSONFlag(f, &asJSON, "a JSON object")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		rule, err := narrow.rule()
		if err != nil {
			return err
		}
		s, err := findSecret(ctx, vault, inv.Args[0])
		if err != nil {
			return err
		}
		warnOfNames(p, to)
		warnOfNoRule(p, s, delivery)
		warnOfNoEffect(p, s, rule)
		b, err := vault.CreateBinding(ctx, secrets.NewBinding{
			SecretID: s.ID, Resource: to.Resource, ExposeAsEnv: to.variable, Delivery: delivery, Egress: rule,
		})
		if err == nil {
			warnOfValue(p, s, rule, delivery, b)
		}
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(p, &b)
		}
		return printDone(p, "bound "+nameAndID(s)+" as "+targetOf(&b).String()+" ("+b.ID+")")
	})
}

func bindingsListCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	var secret string
	return vaultCommand(p, &cli.Command{
		Use:   "list [FLAG...]",
		Short: "List what is bound where",
		Long:  `Lists bindings, sorted by resource and variable.`,
		Example: `  miosa-env bindings list --resource sandbox:sb_1
  miosa-env bindings list --secret github`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` only bindings of sandbox:ID or computer:ID")
			f.StringVar(&secret, "secret", "", "`SECRET` only bindings of this secret, by its id or name")
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		filter := secrets.BindingFilter{Resource: resource}
		if secret != "" {
			s, err := findSecret(ctx, vault, secret)
			if err != nil {
				return err
			}
			filter.SecretID = s.ID
		}
		list, err := vault.ListBindings(ctx, filter)
		if err != nil {
			return err
		}
		var rules map[string]*api.EgressRule
		if !asJSON {
			rules = rulesOf(ctx, vault, list)
		}
		return printList(p, asJSON, list, func() string {
			return "there are no such bindings" + nearest.OrMeant(nearResource(ctx, vault, resource))
		}, []string{"RESOURCE", "VARIABLE", "SECRET", "VERSION", "ROTATED", "DELIVERY", "EXPIRES", "ONLY TO", "ID"}, func(b *api.Binding) []string {
			return []string{b.Resource.String(), b.ExposeAsEnv, cmp.Or(b.SecretName, b.SecretID), program.VersionOf(b.Version),
				program.When(b.UpdatedAt), b.Delivery, program.EndsIfKnown(b.ExpiresAt), narrowedHosts(b, rules[b.SecretID]), b.ID}
		})
	})
}

// nearResource returns the resource with bindings whose name is most like r; "" if there is none.
func nearResource(ctx context.Context, vault *secrets.Client, r api.Resource) string {
	if r == (api.Resource{}) {
		return ""
	}
	list, _ := vault.ListBindings(ctx, secrets.BindingFilter{}) // after an error there is no suggestion
	return nearest.Word(r.String(), cli.Texts(list, func(b *api.Binding) string { return b.Resource.String() }))
}

func bindingsDeleteCommand(p *program.Program) *cli.Command {
	var yes bool
	return vaultCommand(p, &cli.Command{
		Use:      "delete [FLAG...] ID",
		Short:    "Delete a binding; the secret stays",
		Long:     `Deletes a binding by its id. It asks for confirmation; without a terminal, --yes is required.`,
		Example:  `  miosa-env bindings delete bnd_2b7nq --yes`,
		Args:     oneArgument("the binding's id"),
		Complete: cli.First(completeWords(p, bindingIDs)),
		Flags: func(f *pflag.FlagSet) {
			addYesFlag(f, &yes)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if err := confirm(p, yes, "Delete the binding "+cli.OneLine(inv.Args[0])+"?"); err != nil {
			return err
		}
		if err := vault.DeleteBinding(ctx, inv.Args[0]); err != nil {
			return cli.UnknownID(err, inv.Args[0], "miosa-env bindings list",
				func() ([]api.Binding, error) { return vault.ListBindings(ctx, secrets.BindingFilter{}) },
				func(b *api.Binding) string { return b.ID })
		}
		return printDone(p, "deleted "+inv.Args[0])
	})
}
