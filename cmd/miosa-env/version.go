package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:         "version [FLAG...]",
		Short:       "Print the version",
		Args:        noArguments,
		Annotations: map[string]string{noConnection: "true"},
		RunE: func(*cobra.Command, []string) error {
			p.begun = true
			if asJSON {
				return printJSON(p.stdout, map[string]string{
					"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			if _, err := fmt.Fprintf(p.stdout, "miosa-env %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version()); err != nil {
				return fmt.Errorf("write version: %w", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}
