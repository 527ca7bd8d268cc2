package keyring

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindRootKey(t *testing.T) {
	inEnv, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	inCredential, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	// systemd makes credentials readable by the service's user and group.
	if err := os.WriteFile(filepath.Join(credentials, Credential), []byte(inCredential.Reveal()+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file string
		env        map[string]string
		want       Root
	}{
		{"file", "root.key", nil, RootFile("root.key", true)},
		{"environment before file", "root.key", map[string]string{EnvName: inEnv.Reveal() + "\n"}, RootText(inEnv)},
		{"credential before environment", "root.key", map[string]string{EnvName: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": credentials}, RootText(inCredential)},
		{"folder without this credential", "", map[string]string{EnvName: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": t.TempDir()}, RootText(inEnv)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FindRoot(tt.file, true, func(name string) string { return tt.env[name] })
			if err != nil {
				t.Fatal(err)
			}
			if got.file != tt.want.file || got.create != tt.want.create || !got.text.Equal(tt.want.text) {
				t.Errorf("got the wrong one (file %q)", got.file)
			}
		})
	}
	if _, err := FindRoot("", true, func(string) string { return "" }); err == nil {
		t.Error("found a root key where there is none")
	}
}
