package tenant

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

func networkCommand(p *program.Program) *cli.Command {
	return group("network", "Say which hosts sandboxes and computers may use",
		`A policy says what a broker does with requests: audit_only records them, enforce also refuses those
that the policy denies. It applies to a sandbox or computer, or, as the default, to all that have
none of their own. The allowlist has hosts that are allowed or denied; other hosts are treated as the
policy's default says. These commands take a tenant key, as miosa-env secrets does.`,
		policiesCommand(p), policySetCommand(p), policyUnsetCommand(p),
		allowlistCommand(p), entryCommand(p, api.EffectAllow), entryCommand(p, api.EffectDeny), entryDeleteCommand(p), pendingCommand(p),
	)
}

// forAll stands for the tenant's default policy.
const forAll = "default"

// parsePolicyOf parses what a policy applies to; the zero Resource: the tenant's default.
func parsePolicyOf(args []string, to *api.Resource) (err error) {
	if err = oneArgument("the resource, or the word default,")(args); err == nil && args[0] != forAll {
		if *to, err = cli.ParseResource(args[0]); err != nil && !strings.Contains(args[0], ":") {
			err = errors.New("want sandbox:ID, computer:ID or the word default")
		}
	}
	return err
}

// resourceOf returns the resource that a policy or an entry is for, or all if it is for no single one.
func resourceOf(resourceType, id *string, all string) string {
	if resourceType == nil || id == nil {
		return all
	}
	return api.Resource{Type: *resourceType, ID: *id}.String()
}

func policiesCommand(p *program.Program) *cli.Command {
	var asJSON bool
	return vaultCommand(p, &cli.Command{
		Use:   "policies [FLAG...]",
		Short: "List the policies",
		Long:  `Lists the policies that were set, and what applies to everything else.`,
		Flags: func(f *pflag.FlagSet) {
			addJSONFlag(f, &asJSON, "a JSON list of those that were set")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.Policies(ctx)
		if err != nil {
			return err
		}
		if !asJSON && policyOf(list, api.Resource{}) == nil {
			builtIn := api.DefaultPolicy()
			list = append(list, api.Policy{Name: "not set", Mode: builtIn.Mode, DefaultEffect: builtIn.DefaultEffect})
		}
		return printList(p, asJSON, list, nil, []string{"FOR", "MODE", "DEFAULT", "NAME", "CHANGED", "ID"}, func(o *api.Policy) []string {
			return []string{resourceOf(o.ResourceType, o.ResourceID, forAll), o.Mode, o.DefaultEffect, o.Name, program.When(o.UpdatedAt), o.ID}
		})
	})
}

// policyOf returns the policy of a resource, or with the zero Resource the default; nil: none was set.
func policyOf(list []api.Policy, r api.Resource) *api.Policy {
	want := forAll
	if r != (api.Resource{}) {
		want = r.String()
	}
	i := slices.IndexFunc(list, func(o api.Policy) bool { return resourceOf(o.ResourceType, o.ResourceID, forAll) == want })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func policySetCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var to api.Resource
	var mode, effect, name string
	return vaultCommand(p, &cli.Command{
		Use:   "set [FLAG...] RESOURCE|default",
		Short: "Set the policy of a sandbox or computer, or the default",
		Long: `Sets the policy of a sandbox or computer, or with the word default the one of all that have none of
their own. What no flag says stays as it is.`,
		Example: `  miosa-env network set sandbox:sb_1 --mode enforce --default deny
  miosa-env network set default --mode audit_only`,
		Args: func(args []string) error {
			if err := parsePolicyOf(args, &to); err != nil {
				return err
			}
			if mode == "" && effect == "" && name == "" {
				return cli.WithHint(errors.New("nothing is to be set"), "give --mode or --default")
			}
			return nil
		},
		Complete: completePolicies(p),
		Flags: func(f *pflag.FlagSet) {
			f.Var(setting.Choice(&mode, []string{api.ModeAuditOnly, api.ModeEnforce}), "mode", "`WORD` audit_only: requests are recorded; enforce: those that are denied are refused")
			f.Var(setting.Choice(&effect, []string{api.EffectAllow, api.EffectDeny}), "default", "`WORD` allow or deny: what happens to hosts that the allowlist doesn't name")
			f.Var(setting.Text(&name), "name", "`TEXT` a name for people")
			addJSONFlag(f, &asJSON, "a JSON object")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		request := api.PolicyRequest{Resource: to}
		for _, field := range []struct {
			text string
			to   **string
		}{{mode, &request.Mode}, {effect, &request.DefaultEffect}, {name, &request.Name}} {
			if field.text != "" {
				*field.to = &field.text
			}
		}
		set, err := vault.SetPolicy(ctx, request)
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(p, &set)
		}
		return printDone(p, resourceOf(set.ResourceType, set.ResourceID, forAll)+": mode "+set.Mode+", default "+set.DefaultEffect+" ("+set.ID+")")
	})
}

func policyUnsetCommand(p *program.Program) *cli.Command {
	var yes bool
	var of api.Resource
	return vaultCommand(p, &cli.Command{
		Use:   "unset [FLAG...] RESOURCE|default",
		Short: "Delete a policy, so that the default applies again",
		Long: `Deletes the policy of a sandbox or computer: the default applies to it again. With the word default,
it deletes that one: then requests are only recorded. Entries of the allowlist that are for this
policy only are deleted too. It asks first, and where there is no terminal to ask at, it wants --yes.`,
		Example:  `  miosa-env network unset sandbox:sb_1 --yes`,
		Args:     func(args []string) error { return parsePolicyOf(args, &of) },
		Complete: completePolicies(p),
		Flags: func(f *pflag.FlagSet) {
			addYesFlag(f, &yes)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		list, err := vault.Policies(ctx)
		if err != nil {
			return err
		}
		found := policyOf(list, of)
		if found == nil {
			return cli.WithHint(errors.New("no policy was set for "+cli.OneLine(inv.Args[0])), "miosa-env network policies shows all")
		}
		if err := confirm(p, yes, "Delete the policy of "+cli.OneLine(inv.Args[0])+"?"); err != nil {
			return err
		}
		if err := vault.DeletePolicy(ctx, found.ID); err != nil {
			return err
		}
		return printDone(p, "deleted "+found.ID)
	})
}

// entryHead are the titles of the columns of the allowlist.
var entryHead = []string{"HOST", "EFFECT", "METHODS", "PATH", "FOR", "NOTE", "ID"}

func entryCells(e *api.AllowlistEntry) []string {
	all := "all"
	if e.PolicyID != nil {
		all = *e.PolicyID
	}
	text := func(s *string) string { return *cmp.Or(s, new(string)) }
	return []string{e.Host, e.Effect, few(e.Methods), text(e.PathGlob), resourceOf(e.ResourceType, e.ResourceID, all), text(e.Note), e.ID}
}

func allowlistCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	return vaultCommand(p, &cli.Command{
		Use:     "list [FLAG...]",
		Short:   "List the hosts that are allowed or denied",
		Long:    `Lists the entries of the allowlist, oldest first. Of those that match a request, one that denies wins.`,
		Example: `  miosa-env network list --resource sandbox:sb_1`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` those for sandbox:ID or computer:ID, and for all")
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.Allowlist(ctx)
		if err != nil {
			return err
		}
		if resource != (api.Resource{}) {
			list = slices.DeleteFunc(list, func(e api.AllowlistEntry) bool {
				return resourceOf(e.ResourceType, e.ResourceID, resource.String()) != resource.String()
			})
		}
		return printList(p, asJSON, list, func() string { return "there are no such entries" }, entryHead, entryCells)
	})
}

// entryCommand returns the command that allows or denies a host.
func entryCommand(p *program.Program, effect string) *cli.Command {
	var asJSON bool
	entry := api.NewAllowlistEntry{Effect: effect}
	short, long := "Allow a host", `Allows a host: a name, *.example.com for the names below it, an IP address, or a CIDR for literal
addresses. The same entry again is fine.`
	if effect == api.EffectDeny {
		short, long = "Deny a host, whatever else allows it", `Denies a host, whatever else allows it: a name, *.example.com for the names below it, an IP address, or
a CIDR for literal addresses. Requests are refused in the mode enforce only.`
	}
	return vaultCommand(p, &cli.Command{
		Use:   effect + " [FLAG...] HOST",
		Short: short,
		Long:  long,
		Example: `  miosa-env network ` + effect + ` api.example.com
  miosa-env network ` + effect + ` '*.example.com' --resource sandbox:sb_1 --method GET,HEAD`,
		Args: oneArgument("the host"),
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&entry.Resource), "resource", "`RESOURCE` for sandbox:ID or computer:ID only (default: for all)")
			f.Var(setting.List(&entry.Methods), "method", "`LIST` requests with these methods only, such as GET,HEAD: the host is decrypted to see them")
			f.Var(setting.Text(&entry.PathGlob), "path", "`PATH` requests with this path only, such as /v1/**: * matches within a segment, ** any text")
			f.Var(setting.Text(&entry.Note), "note", "`TEXT` a note for people")
			addJSONFlag(f, &asJSON, "a JSON object")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		entry.Host = inv.Args[0]
		if err := entry.Complete(); err != nil {
			return cli.Usage(err, "see miosa-env network "+effect+" --help")
		}
		added, err := vault.AddEntry(ctx, entry)
		if err != nil {
			return err
		}
		if effect == api.EffectDeny {
			warnOfAuditOnly(ctx, p, vault, entry.Resource)
		}
		if asJSON {
			return printJSON(p, &added)
		}
		return printDone(p, added.Effect+" "+added.Host+" for "+resourceOf(added.ResourceType, added.ResourceID, "all")+" ("+added.ID+")")
	})
}

// warnOfAuditOnly logs a warning if a host was denied for a resource, or with the zero Resource for all, and the policy that applies refuses nothing.
func warnOfAuditOnly(ctx context.Context, p *program.Program, vault *secrets.Client, r api.Resource) {
	list, err := vault.Policies(ctx)
	if err != nil {
		return // the entry was added
	}
	applies := cmp.Or(policyOf(list, r), policyOf(list, api.Resource{}))
	if applies != nil && applies.Mode == api.ModeEnforce {
		return
	}
	of := forAll
	if r != (api.Resource{}) {
		of = r.String()
	}
	p.Log.Warn().Str("command", "miosa-env network set "+of+" --mode enforce").Msg("nothing is refused yet: the policy's mode is audit_only")
}

func entryDeleteCommand(p *program.Program) *cli.Command {
	var yes bool
	return vaultCommand(p, &cli.Command{
		Use:   "delete [FLAG...] ID",
		Short: "Delete an entry of the allowlist",
		Long: `Deletes an entry of the allowlist by its id. It asks first, and where there is no terminal to ask at, it
wants --yes.`,
		Example: `  miosa-env network delete rul_2b7nq --yes`,
		Args:    oneArgument("the entry's id"),
		Complete: cli.First(completeWords(p, func(ctx context.Context, vault *secrets.Client) ([]string, error) {
			all, err := vault.Allowlist(ctx)
			return cli.Texts(all, func(e *api.AllowlistEntry) string { return described(e.ID, e.Effect+" "+e.Host) }), err
		})),
		Flags: func(f *pflag.FlagSet) {
			addYesFlag(f, &yes)
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if err := confirm(p, yes, "Delete the entry "+cli.OneLine(inv.Args[0])+"?"); err != nil {
			return err
		}
		if err := vault.DeleteEntry(ctx, inv.Args[0]); err != nil {
			return cli.UnknownID(err, inv.Args[0], "miosa-env network list",
				func() ([]api.AllowlistEntry, error) { return vault.Allowlist(ctx) },
				func(e *api.AllowlistEntry) string { return e.ID })
		}
		return printDone(p, "deleted "+inv.Args[0])
	})
}

func pendingCommand(p *program.Program) *cli.Command {
	var asJSON bool
	var resource api.Resource
	since := cli.Moment{Past: true}
	return vaultCommand(p, &cli.Command{
		Use:   "pending [FLAG...]",
		Short: "List the hosts that were requested and that no entry names",
		Long: `Lists the hosts of requests that the policy denied, or would deny in the mode enforce, and that no
entry of the allowlist names: those to allow or deny.`,
		Example: `  miosa-env network pending --since 24h`,
		Flags: func(f *pflag.FlagSet) {
			f.Var(resourceValue(&resource), "resource", "`RESOURCE` those of sandbox:ID or computer:ID")
			f.Var(&since, "since", "`WHEN` requests from then on: 24h or 7d ago, or 2030-01-02T15:04:05Z (default: 7d ago)")
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.Suggestions(ctx, resource, since.At)
		if err != nil {
			return err
		}
		return printList(p, asJSON, list, func() string { return "there are no such hosts" },
			[]string{"HOST", "METHODS", "RESOURCE", "REQUESTS", "REFUSED", "LAST"}, func(g *api.Suggestion) []string {
				return []string{g.Host, few(g.Methods), api.Resource{Type: g.ResourceType, ID: g.ResourceID}.String(),
					strconv.FormatInt(g.Count, 10), strconv.FormatInt(g.DeniedCount, 10), program.When(g.LastSeen)}
			})
	})
}

// completePolicies completes resources and the word for the default.
func completePolicies(p *program.Program) cli.Completer {
	resources := completeResources(p, "")
	return cli.First(func(ctx context.Context, inv *cli.Invocation, typed string) []string {
		return append(resources(ctx, inv, typed), forAll)
	})
}
