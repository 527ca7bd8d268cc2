package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version returns the command version. It writes to the program's Output.
func Version(version string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version [FLAG...]",
		Short: "Print the version",
		Args:  NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s %s %s/%s %s\n", c.Root().Name(), version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// LinkedVersion returns the version that was set when linking, or if that is "unknown", the one that go build or go install
// has recorded: the module's version, or (devel) and the revision, with +dirty if files were changed.
func LinkedVersion(linked string) string {
	if info, ok := debug.ReadBuildInfo(); ok && linked == "unknown" {
		return recorded(info)
	}
	return linked
}

func recorded(info *debug.BuildInfo) string {
	version := info.Main.Version
	if version != "(devel)" && version != "" {
		return version
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if set["vcs.revision"] == "" {
		return "(devel)"
	}
	version = "(devel) " + set["vcs.revision"]
	if set["vcs.modified"] == "true" {
		version += "+dirty"
	}
	return version
}
