package machine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// dialAgent connects to the agent. If no agent can listen at the path of the socket, that is an error only for a path that the
// user has named.
func dialAgent(p *program.Program) (*socket.Client, error) {
	paths := []string{p.Settings.Socket}
	if p.Settings.Socket == "" {
		paths = socket.Paths(os.Geteuid(), p.Environ.Get("XDG_RUNTIME_DIR"))
	}
	client, err := socket.Dial(paths...)
	switch {
	case !errors.Is(err, socket.ErrNotSocket):
		return client, err
	case p.Settings.Socket == "":
		return nil, socket.ErrNoAgent
	}
	setting := "--socket"
	if p.Environ.Setting("MIOSA_SOCKET") == p.Settings.Socket {
		setting = "MIOSA_SOCKET"
	}
	return nil, cli.WithHint(fmt.Errorf("%s: %w", setting, err), "name the agent's socket, or leave "+setting+" out")
}

// Parts of hints for users that the agent refuses, and for agents of other users.
const (
	haveAllowed = "have this user allowed with allow_users or allow_groups in the agent's configuration"
	onlyTrusted = "only an agent of root's or of this user's own is believed"
)

// AgentError adds a hint to an error of the agent, if there is no other source of values.
func AgentError(err error) error {
	switch {
	case errors.Is(err, socket.ErrNoAgent):
		return cli.WithHint(err, "start one with miosa-env agent, or name its socket with --socket FILE")
	case errors.Is(err, socket.ErrUntrusted):
		return cli.WithHint(err, onlyTrusted+": name its socket with --socket FILE")
	case errors.Is(err, api.ErrDenied):
		return cli.WithHint(err, haveAllowed)
	}
	return err
}

// AskStatus returns the status of the agent on this machine.
func AskStatus(ctx context.Context, p *program.Program) (agent.Status, error) {
	client, err := dialAgent(p)
	if err != nil {
		return agent.Status{}, AgentError(err)
	}
	defer client.Close()
	s, err := client.Status(ctx)
	return s, AgentError(err)
}
