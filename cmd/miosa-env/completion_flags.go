package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject"
)

// completeFlagWords lets a shell complete the flags of c and of all below it that take one of a few words, signals, or names of
// bound variables.
func (p *program) completeFlagWords(c *cobra.Command) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	register := func(f *pflag.Flag) {
		var complete cobra.CompletionFunc
		switch value := f.Value.(type) {
		case *choice:
			complete = cobra.FixedCompletions(value.among, nothing)
		case *change:
			complete = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				if what, _, ok := strings.Cut(typed, "="); ok && strings.EqualFold(what, "signal") {
					return prefixed(what+"=", inject.SignalNames()), nothing
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
			complete = cobra.FixedCompletions(inject.SignalNames(), nothing)
		case *words, *preserve:
			if c.Annotations[noResource] == "" {
				complete = p.completeBound
			}
		}
		if complete != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // fails for one that has been registered
		}
	}
	c.LocalFlags().VisitAll(register)
	for _, sub := range c.Commands() {
		p.completeFlagWords(sub)
	}
}

// completeBound offers the variables that are bound here, as the last of a list.
func (p *program) completeBound(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	p.stderr = io.Discard // what is logged
	if p.begin(c) != nil {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionPatience)
	defer cancel()
	_, rows, _, err := p.rows(ctx)
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

// completeOneBound offers the variables that are bound here, for one argument.
func (p *program) completeOneBound(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeBound(c, nil, "")
}

func prefixed(before string, words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = before + word
	}
	return list
}
