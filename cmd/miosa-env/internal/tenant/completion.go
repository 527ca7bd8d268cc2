package tenant

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/keytree"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// words asks the vault for the words that a shell can offer.
type words func(context.Context, *secrets.Client) ([]string, error)

// offer returns words, sorted. After an error it returns none, and prints nothing, since a user is editing a line.
func offer(ctx context.Context, p *program.Program, inv *cli.Invocation, ask words) []string {
	p.Stderr = io.Discard // the log
	vault, err := connect(p, inv.Flags)
	if err != nil {
		return nil
	}
	defer vault.Close()
	ctx, cancel := context.WithTimeout(ctx, program.CompletionPatience)
	defer cancel()
	list, err := ask(ctx, vault)
	if err != nil {
		return nil
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func completeWords(p *program.Program, ask words) cli.Completer {
	return func(ctx context.Context, inv *cli.Invocation, _ string) []string { return offer(ctx, p, inv, ask) }
}

// described returns a word with the description that a shell shows next to it.
func described(word, about string) string { return word + "\t" + cli.OneLine(about) }

// secretNames returns the names of secrets.
func secretNames(ctx context.Context, vault *secrets.Client) ([]string, error) {
	all, err := vault.List(ctx, secrets.Filter{})
	return cli.Texts(all, func(s *api.Secret) string { return described(s.Name, s.Type) }), err
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

func bindingIDs(ctx context.Context, vault *secrets.Client) ([]string, error) {
	all, err := vault.ListBindings(ctx, secrets.BindingFilter{})
	return cli.Texts(all, func(b *api.Binding) string { return described(b.ID, targetOf(b).String()) }), err
}

// keyIDs returns the ids of keys that can be revoked.
func keyIDs(ctx context.Context, vault *secrets.Client) (list []string, err error) {
	all, err := vault.Keys(ctx, api.Resource{})
	for _, k := range all {
		if k.RevokedAt == nil {
			list = append(list, described(k.ID, strings.TrimSpace(keytree.For(&k)+" "+k.Label)))
		}
	}
	return list, err
}

func providerNames(ctx context.Context, vault *secrets.Client) ([]string, error) {
	all, err := vault.Providers(ctx)
	return cli.Texts(all, func(p *api.Provider) string { return described(p.Name, p.DisplayName) }), err
}

// completeResources offers the resources that have bindings, each with end; if there are none, the types of resources.
func completeResources(p *program.Program, end string) cli.Completer {
	return func(ctx context.Context, inv *cli.Invocation, typed string) []string {
		if end != "" && strings.Contains(typed, end) {
			return nil
		}
		list := offer(ctx, p, inv, func(ctx context.Context, vault *secrets.Client) ([]string, error) {
			all, err := vault.ListBindings(ctx, secrets.BindingFilter{})
			return cli.Texts(all, func(b *api.Binding) string { return b.Resource.String() + end }), err
		})
		if len(list) == 0 {
			return []string{api.Computer + ":", api.Sandbox + ":"}
		}
		return list
	}
}

// completeFlag completes flags with what the vault has.
func completeFlag(p *program.Program) func(*pflag.Flag) cli.Completer {
	return func(f *pflag.Flag) cli.Completer {
		switch {
		case f.Name == "secret":
			return completeWords(p, secretIDs)
		case f.Value.Type() == "resource":
			return completeResources(p, "")
		case f.Value.Type() == "targets":
			return completeResources(p, "=")
		}
		return nil
	}
}
