package oauth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// CallbackPath is the path of the redirect URI under the vault's public URL.
const CallbackPath = "/api/v1/egress/oauth/callback"

// maxFile is the maximum length of a configuration, in bytes.
const maxFile = 1 << 20

// file is the configuration.
type file struct {
	PublicURL    string         `toml:"public_url"`
	RedirectURIs []string       `toml:"redirect_uris"`
	Machine      machineFile    `toml:"machine"`
	Providers    []providerFile `toml:"provider"`
}

// machineFile configures client credentials, whose token URLs tenants name.
type machineFile struct {
	TokenURLs []string `toml:"token_urls"`
}

type providerFile struct {
	Name         string            `toml:"name"`
	DisplayName  string            `toml:"display_name"`
	Preset       string            `toml:"preset"`
	Issuer       string            `toml:"issuer"`
	AuthorizeURL string            `toml:"authorize_url"`
	TokenURL     string            `toml:"token_url"`
	ClientID     string            `toml:"client_id"`
	SecretFile   string            `toml:"client_secret_file"`
	Credential   string            `toml:"client_secret_credential"`
	ClientAuth   string            `toml:"client_auth"`
	Scopes       []string          `toml:"scopes"`
	Params       map[string]string `toml:"authorize_params"`

	ClientSecret any `toml:"client_secret"` // for an error that says where it belongs
}

// Load reads the providers from a TOML file. getenv is os.Getenv, for the directory of systemd's credentials.
// Errors: all problems, each with its provider and field; none contains a line of the file.
func Load(path string, getenv func(string) string) (*Providers, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read OAuth providers: %s is longer than 1 MiB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	p, err := parse(text, filepath.Dir(path), getenv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func parse(text []byte, dir string, getenv func(string) string) (*Providers, error) {
	var f file
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, tomlProblem(err)
	}
	trim(reflect.ValueOf(&f).Elem())
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	ps := &Providers{byName: map[string]*Provider{}}
	if f.PublicURL != "" {
		u, err := ownURL(f.PublicURL)
		if err != nil {
			add("public_url: %w", err)
		} else {
			ps.PublicURL = strings.TrimSuffix(u.String(), "/")
		}
	}
	for i, uri := range f.RedirectURIs {
		if _, err := ownURL(uri); err != nil {
			add("redirect_uris, entry %d: %w", i+1, err)
		}
	}
	ps.redirectURIs = f.RedirectURIs
	for i, u := range f.Machine.TokenURLs {
		if _, err := endpointURL(u); err != nil {
			add("machine.token_urls, entry %d: %w", i+1, err)
		}
	}
	ps.machineURLs = f.Machine.TokenURLs
	for i, pf := range f.Providers {
		p, err := pf.provider(dir, getenv)
		called := cmp.Or(pf.Name, pf.Preset, fmt.Sprint("number ", i+1))
		if err != nil {
			add("provider %s: %w", called, err)
			continue
		}
		if ps.byName[p.Name] != nil {
			add("provider %s: the name is taken by an earlier one: give this one a name", called)
			continue
		}
		ps.byName[p.Name] = p
		ps.list = append(ps.list, p)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return ps, nil
}

// trim removes the white space around every text of the file.
func trim(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(setting.Trim(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			trim(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			trim(v.Field(i))
		}
	}
}

// fields are the names of all fields of the file.
func fields() (names []string) {
	for _, table := range []any{file{}, machineFile{}, providerFile{}} {
		for f := range reflect.TypeOf(table).Fields() {
			names = append(names, f.Tag.Get("toml"))
		}
	}
	return names
}

// tomlProblem is err with its line number, without the line, which may contain a secret.
func tomlProblem(err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var problems []error
		for _, e := range strict.Errors {
			line, _ := e.Position()
			problem := fmt.Sprintf("line %d: unknown field %q", line, strings.Join(e.Key(), "."))
			if hint := nearest.Hint(e.Key()[len(e.Key())-1], fields()); hint != "" {
				problem += ": " + hint
			}
			problems = append(problems, errors.New(problem))
		}
		return errors.Join(problems...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		if key := strings.Join(e.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: want another type of value", line, key)
		}
		return fmt.Errorf("line %d: not TOML", line)
	}
	return errors.New("not TOML")
}
