package oauth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
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

// ConnectPath is the path of the page that a flow begins at.
const ConnectPath = "/api/v1/egress/oauth/connect"

// maxFile is the maximum length of a configuration, in bytes.
const maxFile = 1 << 20

// file is the configuration.
type file struct {
	PublicURL    string         `toml:"public_url"`
	RedirectURIs []string       `toml:"redirect_uris"`
	AnyBrowser   bool           `toml:"any_browser"`
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

// problems are all that is wrong with a configuration.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// check adds a field's error, unless it is nil.
func (p *problems) check(field string, err error) {
	if err != nil {
		p.add("%s: %w", field, err)
	}
}

// Load reads the providers from a TOML file. getenv is os.Getenv, for the directory of systemd's credentials.
// Errors: all problems, each with its provider and field; none contains a line of the file.
func Load(path string, getenv func(string) string) (*Providers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read OAuth providers: %s is longer than 1 MiB", path)
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
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, tomlProblem(err)
	}
	trim(reflect.ValueOf(&f).Elem())
	var found problems
	if f.PublicURL != "" {
		found.check("public_url", checkOwnURL(f.PublicURL))
	}
	for i, uri := range f.RedirectURIs {
		found.check(fmt.Sprintf("redirect_uris, entry %d", i+1), checkOwnURL(uri))
	}
	for i, u := range f.Machine.TokenURLs {
		found.check(fmt.Sprintf("machine.token_urls, entry %d", i+1), checkURL(u))
	}
	if u, err := url.Parse(f.PublicURL); err == nil {
		f.PublicURL = u.String() // as browsers spell it
	}
	ps := &Providers{PublicURL: strings.TrimSuffix(f.PublicURL, "/"), redirectURIs: f.RedirectURIs, anyBrowser: f.AnyBrowser, machineURLs: f.Machine.TokenURLs}
	for i, pf := range f.Providers {
		called := "provider " + cmp.Or(pf.Name, pf.Preset, fmt.Sprint("number ", i+1))
		p, err := pf.provider(dir, getenv)
		switch {
		case err != nil:
			found.check(called, err)
		case ps.Named(p.Name) != nil:
			found.add("%s: the name is taken by an earlier one: give this one a name", called)
		default:
			ps.list = append(ps.list, p)
		}
	}
	if len(found) > 0 {
		return nil, errors.Join(found...)
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
		var found problems
		for _, e := range strict.Errors {
			line, _ := e.Position()
			found.add("line %d: unknown field %q%s", line, strings.Join(e.Key(), "."), hint(e.Key()[len(e.Key())-1], fields()))
		}
		return errors.Join(found...)
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

// hint is the end of a message about an unknown word: the known one that it resembles, if there is one.
func hint(word string, known []string) string {
	if hint := nearest.Hint(word, known); hint != "" {
		return ": " + hint
	}
	return ""
}
