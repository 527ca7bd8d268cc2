package cli

import (
	"errors"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// ParseResource parses sandbox:sb_1 and ignores white space around it. Its errors don't repeat it, since it may be a misplaced
// value, and have a hint if the kind is misspelled.
func ParseResource(s string) (api.Resource, error) {
	s = setting.Trim(s)
	r, err := api.ParseResource(s)
	if err == nil {
		return r, nil
	}
	kind, id, ok := strings.Cut(s, ":")
	want := errors.New("want sandbox:ID or computer:ID")
	switch word := nearest.Word(kind, []string{api.Sandbox, api.Computer}); {
	case word != "" && word != kind:
		return r, WithHint(want, "did you mean "+word+":ID?")
	case word != "" && ok && id != "":
		return r, errors.New("want sandbox:ID or computer:ID, where an ID has letters, digits and . _ : @ -")
	}
	return r, want
}
