package machine

import (
	"errors"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// asGiven lets the errors of a Build call files as they were given.
func (r *runner) asGiven(err error) error {
	for _, problem := range cli.Problems(err) {
		if file, ok := errors.AsType[*dotenv.Error](problem); ok && r.given[file.Path] != "" {
			file.Path = r.given[file.Path]
		}
	}
	return err
}
