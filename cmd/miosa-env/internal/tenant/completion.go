package tenant

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// words asks the vault for the words that a shell can offer.
type words func(context.Context, *secrets.Client) ([]string, error)

// offer returns words, sorted. After an error it returns none, and prints nothing, since a user is editing a line.
func offer(p *program.Program, c *cobra.Command, ask words) []string {
	p.Stderr = io.Discard // the log
	vault, err := connect(p, c)
	if err != nil {
		return nil
	}
	defer vault.Close()
	ctx, cancel := context.WithTimeout(c.Context(), program.CompletionPatience)
	defer cancel()
	list, err := ask(ctx, vault)
	if err != nil {
		return nil
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// completeWords completes a flag.
func completeWords(p *program.Program, ask words) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return offer(p, c, ask), noFiles
	}
}

// completeFirst completes the first argument with complete, and no other.
func completeFirst(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return complete(c, nil, typed)
	}
}

// described returns a word with the description that a shell shows next to it.
func described(word, about string) string { return word + "\t" + cli.OneLine(about) }

// secretNames returns the names of secrets.
func secretNames(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.List(ctx, secrets.Filter{})
	for _, s := range all {
		list = append(list, described(s.Name, s.Type))
	}
	return list, err
}

// secretIDs returns what identifies one secret: ids, and names that only one secret has.
func secretIDs(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.List(ctx, secrets.Filter{})
	named := map[string]int{}
	for _, s := range all {
		named[s.Name]++
	}
	for _, s := range all {
		if named[s.Name] == 1 {
			list = append(list, described(s.Name, s.Type))
		}
		list = append(list, described(s.ID, s.Name))
	}
	return list, err
}

func bindingIDs(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.ListBindings(ctx, secrets.BindingFilter{})
	for i := range all {
		list = append(list, described(all[i].ID, targetOf(&all[i]).String()))
	}
	return list, err
}

// keyIDs returns the ids of keys that can be revoked.
func keyIDs(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.ListKeys(ctx, api.Resource{})
	for _, k := range all {
		if k.RevokedAt == nil {
			list = append(list, described(k.ID, k.Resource.String()))
		}
	}
	return list, err
}

func providerNames(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.Providers(ctx)
	for _, provider := range all {
		list = append(list, described(provider.Name, provider.DisplayName))
	}
	return list, err
}

// completeResources offers the resources that have bindings, each with end; if there are none, the types of resources.
func completeResources(p *program.Program, end string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		if end != "" && strings.Contains(typed, end) {
			return nil, noFiles
		}
		list := offer(p, c, func(ctx context.Context, vault *secrets.Client) (list []string, err error) {
			all, err := vault.ListBindings(ctx, secrets.BindingFilter{})
			for _, b := range all {
				list = append(list, b.Resource.String()+end)
			}
			return list, err
		})
		directive := noFiles
		if len(list) == 0 {
			list = []string{api.Computer + ":", api.Sandbox + ":"}
		}
		if end != "" || strings.HasSuffix(list[0], ":") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return list, directive
	}
}

// completeTargets offers resources for RESOURCE=NAME.
func completeTargets(p *program.Program) cobra.CompletionFunc { return completeResources(p, "=") }

// completeFlags completes flags with what the vault has. Words of flags are completed by machine.CompleteFlagWords.
func completeFlags(p *program.Program, c *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{
		"resource": completeResources(p, ""),
		"secret":   completeWords(p, secretIDs),
		"bind":     completeTargets(p),
	} {
		f := c.Flags().Lookup(name)
		if f == nil {
			continue
		}
		if name == "bind" && f.Value.Type() == "resource" {
			complete = completeResources(p, "")
		}
		_ = c.RegisterFlagCompletionFunc(name, complete) // fails only for an unknown flag
	}
}
