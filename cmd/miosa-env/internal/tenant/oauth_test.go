package tenant

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// Each end of a flow has a plain message, a next step and its own exit code.
func TestEndOfFlow(t *testing.T) {
	ended := func(status, word, message string) error {
		return &secrets.FlowError{Status: api.OAuthStatus{Status: status, Error: word, Message: message}}
	}
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"denied", ended(api.FlowDenied, "access_denied", ""), 3, "not connected: access was denied (access_denied)"},
		{"denied, with a sentence", ended(api.FlowDenied, "access_denied", "The user said no."), 3, "not connected: access was denied: The user said no."},
		{"expired", ended(api.FlowFailed, "expired", "Nobody came back in time."), 4, "not connected: nobody used the link before it ended"},
		{"failed", ended(api.FlowFailed, "status_500", ""), 4, "not connected: the provider or the vault failed (status_500)"},
		{"timeout", fmt.Errorf("%w: %w", secrets.ErrFlowTimeout, api.ErrUnavailable), 5, "not connected yet, after 5m0s"},
		{"another", api.NewError(api.ErrNotFound, "no such flow"), 125, "no such flow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := endOf(&secrets.Flow{}, tt.err, 5*time.Minute)
			if diff := cmp.Diff(got.Error(), tt.want); diff != "" || cli.ExitCode(got, command.ExitFailed) != tt.code {
				t.Errorf("exit code %d, want %d (-got +want)\n%s", cli.ExitCode(got, command.ExitFailed), tt.code, diff)
			}
			if hint := cli.Hint(got); (hint == "") != (tt.code == 125) || strings.Contains(hint, "0001") {
				t.Errorf("hint %q", hint)
			}
		})
	}
}
