package machine

import (
	"context"
	"fmt"
	"strconv"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Refresh returns the command refresh.
func Refresh(p *program.Program) *cli.Command {
	return &cli.Command{
		Use:   "refresh [FLAG...]",
		Short: "Make the agent on this machine ask the vault now",
		Long: `Makes the agent on this machine ask the vault for its values now, and waits for the response. Changes
reach the agent by themselves; use this after an outage if the agent's next attempt is too far off.

If --base-url or MIOSA_BASE_URL names another vault than the agent's, the agent is not asked.

The exit code is 0 if the vault responded, and 125 if it did not or there is no agent.`,
		Example: `  miosa-env refresh && miosa-env status`,
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			s, err := refresh(ctx, p)
			if err != nil {
				return AgentError(err)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s: %s, the vault answered in %s ms\n",
				s.State, program.Counted(s.Bindings, "binding"), strconv.FormatFloat(s.RoundTrip, 'f', 1, 64))
			return err
		},
	}
}

// refresh has the agent ask the vault, unless it is known to serve another vault than the named one.
func refresh(ctx context.Context, p *program.Program) (agent.Status, error) {
	client, err := dialAgent(p)
	if err != nil {
		return agent.Status{}, err
	}
	defer client.Close()
	named, err := p.Settings.NamedVault()
	if err != nil {
		return agent.Status{}, err
	}
	if named != "" {
		s, err := client.Status(ctx)
		if err != nil {
			return s, err
		}
		if err := OtherVault(s, named); err != nil && s.Vault != "" {
			return s, cli.WithHint(err, "leave out --base-url and MIOSA_BASE_URL to have this agent refreshed, or name another one with --socket FILE")
		}
	}
	return client.Refresh(ctx)
}
