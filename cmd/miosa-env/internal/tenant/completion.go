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

// names offers what the vault has to a shell that completes.
type names struct{ *program.Program }

// offer asks the vault what a shell could offer. Whatever goes wrong, it offers nothing, and says nothing in
// the middle of somebody's line.
func (p names) offer(c *cobra.Command, ask func(context.Context, *secrets.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	p.Stderr = io.Discard // what is logged
	vault, err := manage(p.Program, c)
	if err != nil {
		return nil, nothing
	}
	defer vault.Close()
	ctx, cancel := context.WithTimeout(c.Context(), program.CompletionPatience)
	defer cancel()
	words, err := ask(ctx, vault)
	if err != nil {
		return nil, nothing
	}
	slices.Sort(words)
	return slices.Compact(words), nothing
}

// described is a word that a shell offers, with what it shows beside it.
func described(word, about string) string { return word + "\t" + cli.OneLine(about) }

func secretWords(ctx context.Context, vault *secrets.Client, ids bool) ([]string, error) {
	list, err := vault.List(ctx, secrets.Filter{})
	named := map[string]int{}
	for _, s := range list {
		named[s.Name]++
	}
	var words []string
	for _, s := range list {
		if !ids || named[s.Name] == 1 {
			words = append(words, described(s.Name, s.Type))
		}
		if ids {
			words = append(words, described(s.ID, s.Name))
		}
	}
	return words, err
}

// completeSecrets offers what names one secret: names that only one has, and ids.
func (p names) completeSecrets(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) ([]string, error) {
		return secretWords(ctx, vault, true)
	})
}

// completeSecretNames offers names, for a next value.
func (p names) completeSecretNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) ([]string, error) {
		return secretWords(ctx, vault, false)
	})
}

func (p names) completeSecretAndPlace(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return p.completePlaces(c, nil, typed)
	}
	return p.completeSecrets(c, args, typed)
}

func (p names) completeBindings(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) (words []string, err error) {
		list, err := vault.ListBindings(ctx, secrets.BindingFilter{})
		for _, b := range list {
			words = append(words, described(b.ID, placeOf(&b).String()))
		}
		return words, err
	})
}

// completeKeys offers the keys that can be revoked.
func (p names) completeKeys(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) (words []string, err error) {
		list, err := vault.ListKeys(ctx, api.Resource{})
		for _, k := range list {
			if k.RevokedAt == nil {
				words = append(words, described(k.ID, k.Resource.String()))
			}
		}
		return words, err
	})
}

func (p names) completeProviders(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) (words []string, err error) {
		list, err := vault.Providers(ctx)
		for _, provider := range list {
			words = append(words, described(provider.Name, provider.DisplayName))
		}
		return words, err
	})
}

// completeResources offers the resources that something is bound to.
func (p names) completeResources(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words, directive := p.boundResources(c, "")
	if len(words) == 0 {
		words, directive = resourceTypes, directive|cobra.ShellCompDirectiveNoSpace
	}
	return words, directive
}

// completePlaces offers resources up to the =.
func (p names) completePlaces(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(typed, "=") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words, directive := p.boundResources(c, "=")
	if len(words) == 0 {
		words = resourceTypes
	}
	return words, directive | cobra.ShellCompDirectiveNoSpace
}

var resourceTypes = []string{api.Computer + ":", api.Sandbox + ":"}

func (p names) boundResources(c *cobra.Command, end string) ([]string, cobra.ShellCompDirective) {
	return p.offer(c, func(ctx context.Context, vault *secrets.Client) (words []string, err error) {
		list, err := vault.ListBindings(ctx, secrets.BindingFilter{})
		for _, b := range list {
			words = append(words, b.Resource.String()+end)
		}
		return words, err
	})
}

// completeWords completes what a command's flags take.
func completeWords(prog *program.Program, c *cobra.Command) {
	p := names{prog}
	const nothing = cobra.ShellCompDirectiveNoFileComp
	fixed := func(words ...string) cobra.CompletionFunc { return cobra.FixedCompletions(words, nothing) }
	resource := func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return p.completeResources(c, nil, typed)
	}
	for name, complete := range map[string]cobra.CompletionFunc{
		"resource": resource,
		"secret": func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return p.completeSecrets(c, nil, typed)
		},
		"scope":    fixed("user", "workspace", "tenant", "external_user", "external_workspace"),
		"type":     fixed("api_key", "env_var", "bearer", "basic", "generic", "oauth_connect", "oauth_machine", "oauth_token"),
		"delivery": fixed(api.DeliverValue, api.DeliverPlaceholder),
		"action":   fixed(auditActions...),
	} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, complete) // fails for a flag that isn't there only
		}
	}
	if f := c.Flags().Lookup("bind"); f != nil {
		complete := p.completePlaces
		if f.Value.Type() == "resource" {
			complete = resource
		}
		_ = c.RegisterFlagCompletionFunc("bind", complete)
	}
}
