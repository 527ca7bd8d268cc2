package cause_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

func TestOf(t *testing.T) {
	_, missing := os.Open("/nowhere/at/all")
	other := errors.New("another")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"about a path", missing, "no such file or directory"},
		{"wrapped", fmt.Errorf("read it: %w", missing), "no such file or directory"},
		{"of another kind", other, "another"},
	} {
		if got := cause.Of(tt.err); got.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
	if !errors.Is(cause.Of(missing), fs.ErrNotExist) {
		t.Error("the kind of the error is lost")
	}
	if cause.Of(nil) != nil {
		t.Error("no error has a cause")
	}
}
