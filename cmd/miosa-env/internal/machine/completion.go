package machine

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// completeFlag completes flags whose values are changes, signals or names of bound variables.
func completeFlag(p *program.Program) func(*pflag.Flag) cli.Completer {
	return func(f *pflag.Flag) cli.Completer {
		switch f.Value.Type() {
		case "change":
			return completeChange
		case "signal":
			return cli.Words(signal.Names())
		case "list":
			return completeVariables(p)
		}
		return nil
	}
}

func completeChange(_ context.Context, _ *cli.Invocation, typed string) []string {
	if what, _, ok := strings.Cut(typed, "="); ok && strings.EqualFold(what, "signal") {
		return cli.Texts(signal.Names(), func(name *string) string { return what + "=" + *name })
	}
	return []string{"ignore", "restart", "signal=", "hook="}
}

// completeVariables offers the bound variables as the last word of a list.
func completeVariables(p *program.Program) cli.Completer {
	return func(ctx context.Context, inv *cli.Invocation, typed string) []string {
		p.Stderr = io.Discard // the log
		if p.Begin(inv.Flags) != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, program.CompletionPatience)
		defer cancel()
		_, rows, _, err := listBindings(ctx, p)
		if err != nil {
			return nil
		}
		before := typed[:1+strings.LastIndexByte(typed, ',')]
		return cli.Texts(rows, func(row *listed) string { return before + row.Variable })
	}
}
