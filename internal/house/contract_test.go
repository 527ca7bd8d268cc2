package house_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestErrorsInTheDocumentsAreThoseOfTheCode(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([A-Z_]+)` \\|.*\\| (yes|no) \\|$")
	var written []string
	for _, match := range row.FindAllStringSubmatch(read(t, root+"/docs/api.md"), -1) {
		written = append(written, fmt.Sprint(match[1], " ", match[2], " ", match[3]))
	}
	var coded []string
	for _, kind := range api.Kinds {
		again := "no"
		if api.Temporary(kind) {
			again = "yes"
		}
		coded = append(coded, fmt.Sprint(kind.Status, " ", kind.Code, " ", again))
	}
	if diff := cmp.Diff(coded, written); diff != "" {
		t.Errorf("docs/api.md, \"Errors\" (-code +document):\n%s", diff)
	}
}
