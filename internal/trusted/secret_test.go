package trusted_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := trusted.ReadSecret(path); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o660: false, 0o604: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		text, err := trusted.ReadSecret(path)
		switch {
		case ok && (err != nil || string(text) != "text"):
			t.Errorf("mode %04o: %q, %v", mode, text, err)
		case !ok && (err == nil || text != nil || !strings.Contains(err.Error(), "chmod 600")):
			t.Errorf("mode %04o: %q, %v", mode, text, err)
		}
	}
}
