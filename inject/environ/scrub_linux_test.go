package environ_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// scrubs is the variable that makes the test binary run playScrub.
const scrubs = "ENVIRON_TEST_SCRUB"

func TestMain(m *testing.M) {
	if os.Getenv(scrubs) != "" {
		os.Exit(playScrub())
	}
	os.Exit(m.Run())
}

// playScrub scrubs its key, then prints where the key and other data can still be read.
func playScrub() int {
	if os.Getenv(scrubs) == "without a key" {
		err := environ.Scrub(api.Key{})
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		fmt.Printf("dumpable=%d, error %v\n", dumpable, err)
		return 0
	}
	kept := strings.Clone(os.Getenv("OTHER"))
	key, err := api.ParseKey(os.Getenv("MIOSA_API_KEY"))
	if err == nil {
		err = environ.Scrub(key)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile("/proc/self/" + file)
		if errors.Is(err, fs.ErrPermission) { // root owns the file if the process is undumpable
			fmt.Println(file, "hidden")
			continue
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Printf("%s key=%v rest=%v\n", file, bytes.Contains(b, []byte(key.Reveal())) || bytes.Contains(b, []byte(api.TenantKeyPrefix)), bytes.Contains(b, []byte("bystander")))
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Printf("environment key=%v other=%s dumpable=%d\n", strings.Contains(strings.Join(os.Environ(), " "), key.Reveal()), kept, dumpable)
	return 0
}

func TestScrub(t *testing.T) {
	key := api.NewKey(api.ResourceKeyPrefix).Reveal()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "bystander", "--key="+key, "x"+key+key+"y")
	c.Env = append(os.Environ(), scrubs+"=1", "MIOSA_API_KEY="+key, "COPY=a "+key+" b", "OTHER=bystander", "MIOSA_TENANT_KEY="+api.NewKey(api.TenantKeyPrefix).Reveal())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, api.RedactKeys(string(out)))
	}
	environ := "environ key=false rest=true"
	if os.Geteuid() != 0 {
		environ = "environ hidden"
	}
	want := environ + "\ncmdline key=false rest=true\nenvironment key=false other=bystander dumpable=0\n"
	if string(out) != want {
		t.Errorf("(-want +got)\n-%s\n+%s", want, api.RedactKeys(string(out)))
	}
}

// A process whose values come from an agent has no key, and is protected too.
func TestScrubWithoutKey(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = []string{scrubs + "=without a key"}
	if out, err := c.CombinedOutput(); string(out) != "dumpable=0, error <nil>\n" || err != nil {
		t.Errorf("got %s, %v", out, err)
	}
}
