package machine

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// CompleteFlagWords lets a shell complete the flags of c and of all below it that take one of a few words, signals, or names of
// bound variables.
func CompleteFlagWords(p *program.Program, c *cobra.Command) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	register := func(f *pflag.Flag) {
		var complete cobra.CompletionFunc
		switch value := f.Value.(type) {
		case *setting.Choice:
			complete = cobra.FixedCompletions(value.Words, nothing)
		case *change:
			complete = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				if what, _, ok := strings.Cut(typed, "="); ok && strings.EqualFold(what, "signal") {
					return prefixed(what+"=", signal.Names()), nothing
				}
				var offered []string
				directive := nothing
				for _, word := range []string{"ignore", "restart", "signal=", "hook="} {
					if strings.HasPrefix(word, typed) {
						offered = append(offered, word)
						if strings.HasSuffix(word, "=") {
							directive |= cobra.ShellCompDirectiveNoSpace
						}
					}
				}
				return offered, directive
			}
		case *signalFlag:
			complete = cobra.FixedCompletions(signal.Names(), nothing)
		case *setting.List, *preserve:
			if c.Annotations[program.NoResource] == "" {
				complete = variables{p}.complete
			}
		}
		if complete != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // fails for one that has been registered
		}
	}
	c.LocalFlags().VisitAll(register)
	for _, sub := range c.Commands() {
		CompleteFlagWords(p, sub)
	}
}

// variables offers what is bound here to a shell that completes.
type variables struct{ *program.Program }

// complete offers the variables that are bound here, as the last of a list.
func (p variables) complete(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	p.Stderr = io.Discard // what is logged
	if p.Begin(c) != nil {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(c.Context(), program.CompletionPatience)
	defer cancel()
	_, rows, _, err := listBindings(ctx, p.Program)
	if err != nil {
		return nil, nothing
	}
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row.Variable
	}
	slices.Sort(names)
	return prefixed(typed[:1+strings.LastIndexByte(typed, ',')], names), nothing
}

// completeOne offers the variables that are bound here, for one argument.
func (p variables) completeOne(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.complete(c, nil, "")
}

func prefixed(before string, words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = before + word
	}
	return list
}
