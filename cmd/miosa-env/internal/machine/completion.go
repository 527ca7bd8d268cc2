package machine

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// CompleteFlagWords registers completions for the flags of c and of its commands whose values are words, signals or names of bound
// variables.
func CompleteFlagWords(p *program.Program, c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		value, ok := f.Value.(*setting.Value)
		if !ok {
			return
		}
		var complete cobra.CompletionFunc
		switch {
		case value.Words != nil:
			complete = cobra.FixedCompletions(value.Words, noFiles)
		case value.Type() == "change":
			complete = completeChange
		case value.Type() == "signal":
			complete = cobra.FixedCompletions(signal.Names(), noFiles)
		case value.Type() == "list" && c.Annotations[program.NoResource] == "":
			complete = completeVariables(p)
		default:
			return
		}
		_ = c.RegisterFlagCompletionFunc(f.Name, complete) // fails for one that has been registered
	})
	for _, sub := range c.Commands() {
		CompleteFlagWords(p, sub)
	}
}

func completeChange(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if what, _, ok := strings.Cut(typed, "="); ok && strings.EqualFold(what, "signal") {
		return prefixed(what+"=", signal.Names()), noFiles
	}
	var offered []string
	directive := noFiles
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

// completeVariables offers the bound variables as the last word of a list.
func completeVariables(p *program.Program) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		p.Stderr = io.Discard // the log
		if p.Begin(c) != nil {
			return nil, noFiles
		}
		ctx, cancel := context.WithTimeout(c.Context(), program.CompletionPatience)
		defer cancel()
		_, rows, _, err := listBindings(ctx, p)
		if err != nil {
			return nil, noFiles
		}
		names := make([]string, len(rows)) // sorted, as rows are
		for i, row := range rows {
			names[i] = row.Variable
		}
		return prefixed(typed[:1+strings.LastIndexByte(typed, ',')], names), noFiles
	}
}

func prefixed(before string, words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = before + word
	}
	return list
}
