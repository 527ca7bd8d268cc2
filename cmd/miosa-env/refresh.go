package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func (p *program) refreshCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh [FLAG...]",
		Short: "Have the agent on this machine ask the vault now",
		Long: `Has the agent on this machine ask the vault for its values now, and waits for the answer. There
is no need to: changes reach the agent by themselves. It helps after an outage, when one
doesn't want to wait for the agent's next attempt.

The exit code is 0 where the vault answered, 125 where it didn't or there is no agent.`,
		Example: `  miosa-env refresh && miosa-env status`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.begin(c); err != nil {
				return err
			}
			client, err := p.askAgent()
			if err != nil {
				return err
			}
			defer client.Close()
			s, err := client.Refresh(c.Context())
			if err != nil {
				return unasked(err)
			}
			fmt.Fprintf(p.stdout, "%s: %s, the vault answered in %s ms\n",
				s.State, counted(s.Bindings, "binding"), strconv.FormatFloat(s.RoundTrip, 'f', 1, 64))
			return nil
		},
	}
}
