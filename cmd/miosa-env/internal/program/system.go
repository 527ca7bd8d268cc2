package program

import (
	"fmt"
	"runtime"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// RequireLinux returns an error on other systems, which have no supervisor and no agent.
func RequireLinux(what string) error {
	if runtime.GOOS == "linux" {
		return nil
	}
	return cli.WithHint(
		fmt.Errorf("%s needs Linux, and this is %s", what, runtime.GOOS),
		"run, export, get, list, doctor and the commands for a tenant's secrets work here: docs/install.md, \"macOS\"")
}
