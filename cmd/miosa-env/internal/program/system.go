package program

import (
	"fmt"
	"runtime"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// OnLinux reports whether all features are available. Other systems have no supervisor and no agent.
const OnLinux = runtime.GOOS == "linux"

// NeedsLinux returns the error for a command or flag that this system doesn't support.
func NeedsLinux(what string) error {
	return cli.WithHint(
		fmt.Errorf("%s needs Linux, and this is %s", what, runtime.GOOS),
		"run, export, get, list, doctor and the commands for a tenant's secrets work here: docs/install.md, \"macOS\"")
}
