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

// askAgent connects to the agent, which must be there.
func askAgent(p *program.Program) (*socket.Client, error) {
	client, err := dialAgent(p)
	return client, Unasked(err)
}

// dialAgent connects to the agent. That no agent can listen on a path is an error where the path was named,
// else there is none.
func dialAgent(p *program.Program) (*socket.Client, error) {
	client, err := socket.Dial(sockets(p)...)
	if !errors.Is(err, socket.ErrNotSocket) {
		return client, err
	}
	if p.Settings.Socket == "" {
		return nil, socket.ErrNoAgent
	}
	setting := "--socket"
	if p.Environ.Setting("MIOSA_SOCKET") == p.Settings.Socket {
		setting = "MIOSA_SOCKET"
	}
	return nil, cli.WithHint(fmt.Errorf("%s: %w", setting, err), "name the agent's socket, or leave "+setting+" out")
}

// What to do about an agent that isn't to be asked.
const (
	haveAllowed = "have this user allowed with allow_users or allow_groups in the agent's configuration"
	onlyTrusted = "only an agent of root's or of this user's own is believed"
)

// Unasked adds to an error of an agent's what to do about it.
func Unasked(err error) error {
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

// sockets are where an agent may be listening.
func sockets(p *program.Program) []string {
	if p.Settings.Socket != "" {
		return []string{p.Settings.Socket}
	}
	return socket.Paths(os.Geteuid(), p.Environ.Get("XDG_RUNTIME_DIR"))
}

// AskStatus returns the status of the agent on this machine.
func AskStatus(ctx context.Context, p *program.Program) (agent.Status, error) {
	client, err := askAgent(p)
	if err != nil {
		return agent.Status{}, err
	}
	defer client.Close()
	s, err := client.Status(ctx)
	return s, Unasked(err)
}
