package keytree

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Children are the flags for what happens to the keys that a revoked key has created.
type Children struct {
	with, keep bool
}

// AddFlags adds the flags.
func (c *Children) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.with, "with-children", false, "revoke the keys that it has created too, and those that they have created")
	f.BoolVar(&c.keep, "keep-children", false, "keep the keys that it has created")
}

// Check returns an error if both flags are given.
func (c *Children) Check() error {
	if c.with && c.keep {
		return cli.Usage(errors.New("--with-children and --keep-children don't go together"), "give one of them")
	}
	return nil
}

// Choose returns the parameter children of the API for a key with the valid keys under it: as the flags say, or as the
// user answers on the terminal in. It returns "" if there are none.
func (c *Children) Choose(under []*api.IssuedKey, in io.Reader, out io.Writer) (string, error) {
	switch {
	case c.with:
		return api.ChildrenRevoke, nil
	case c.keep:
		return api.ChildrenKeep, nil
	case len(under) == 0:
		return "", nil
	}
	const most = 20
	fmt.Fprintln(out, "This key has created keys that are valid:")
	for _, k := range under[:min(len(under), most)] {
		fmt.Fprintln(out, " ", cli.OneLine(For(k)+" "+Name(k)))
	}
	if len(under) > most {
		fmt.Fprintln(out, "  and", len(under)-most, "more")
	}
	terminal, ok := in.(*os.File)
	if !ok || terminal == nil || !term.IsTerminal(int(terminal.Fd())) {
		return "", cli.Usage(errors.New("there is no terminal to ask what happens to these keys"), "add --with-children to revoke them too, or --keep-children")
	}
	fmt.Fprint(out, "Revoke them too? yes, keep them, or cancel [y/k/N] ")
	answer, err := bufio.NewReader(terminal).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("ask: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return api.ChildrenRevoke, nil
	case "k", "keep":
		return api.ChildrenKeep, nil
	}
	return "", errors.New("nothing was done")
}

// For returns what a key is for: its resource, "broker", "tenant", or "altered" if that can't be relied on.
func For(k *api.IssuedKey) string {
	if k.Altered {
		return "altered"
	}
	switch {
	case k.Broker:
		return "broker"
	case k.Resource == (api.Resource{}):
		return "tenant"
	}
	return k.Resource.String()
}
