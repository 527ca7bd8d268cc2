package needs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// provided is a Debian package and what tests need of it: a command, or a file with an absolute path.
type provided struct{ what, by string }

// debian is the only list of what the tests use beside Go, make and git.
var debian = []provided{
	// Shells: they read what export prints, and run completion scripts.
	{"bash", "bash"}, {"dash", "dash"}, {"busybox", "busybox"}, {"ksh", "ksh"}, {"zsh", "zsh"}, {"mksh", "mksh"}, {"fish", "fish"},
	// Encoders whose output --mask must recognise, and what commands do to a terminal.
	{"python3", "python3"}, {"node", "nodejs"}, {"npm", "npm"}, {"xxd", "xxd"},
	{"stty", "coreutils"}, {"base64", "coreutils"}, {"sha256sum", "coreutils"}, {"cp", "coreutils"}, {"chroot", "coreutils"}, {"sh", "dash"},
	// Networks, namespaces and users of a test's own.
	{"ip", "iproute2"}, {"nsenter", "util-linux"}, {"unshare", "util-linux"}, {"setsid", "util-linux"}, {"setpriv", "util-linux"}, {"mount", "mount"}, {"useradd", "passwd"},
	// The reader of EnvironmentFile=, and machines that boot with the agent's unit.
	{"systemctl", "systemd"}, {"/lib/systemd/systemd", "systemd"}, {"systemd-analyze", "systemd"}, {"systemd-escape", "systemd"}, {"systemd-nspawn", "systemd-container"}, {"debootstrap", "debootstrap"},
	// The race detector is C; gcore makes a core of the running agent.
	{"gcc", "gcc"}, {"/usr/include/stdlib.h", "libc6-dev"}, {"gcore", "gdb"},
	// Packages and install.sh: what is in them, installed and removed.
	{"dpkg", "dpkg"}, {"dpkg-deb", "dpkg"}, {"rpm", "rpm"}, {"lintian", "lintian"}, {"shellcheck", "shellcheck"}, {"tar", "tar"},
	{"man", "man-db"}, {"groff", "groff"}, {"curl", "curl"}, {"apt-get", "apt"},
	{"make", "make"}, {"git", "git"}, {"jq", "jq"}, {"perl", "perl"},
	// Programs for arm64, and a kernel with what it starts with.
	{"qemu-aarch64", "qemu-user"}, {"qemu-system-aarch64", "qemu-system-arm"}, {"cpio", "cpio"},
	// The vault's page. A browser without any font measures nothing.
	{"chromium", "chromium"}, {"/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"},
	// Images, as they are run.
	{"podman", "podman"}, {"runc", "runc"}, {"/usr/libexec/podman/catatonit", "catatonit"}, {"podman-compose", "podman-compose"}, {"ldd", "libc-bin"},
	// The system's certificate authorities, for doctor and TLS.
	{"/etc/ssl/certs/ca-certificates.crt", "ca-certificates"},
}

// npm lists npm packages: the version that is tested, and the variable that names a package's folder or a file
// in it. node is for machines whose own is older than 22.1: its --env-file reads no line breaks.
var npm = []struct{ name, version, variable, file string }{
	{"dotenv", "18.0.10", "DOTENV_MODULE", ""},
	{"oidc-provider", "9.13.3", "OIDC_PROVIDER_DIR", ""},
	{"axe-core", "4.14.1", "AXE_JS", "axe.min.js"},
	{"node", "22", "", ""},
}

// NPMFolder is where npm installs packages for the tests, below the repository.
const NPMFolder = "bin/npm"

// DebianPackage is the package that has a command, "" where none is known.
func DebianPackage(command string) string {
	for _, p := range debian {
		if p.what == command {
			return p.by
		}
	}
	return ""
}

// MissingDebianPackages are those of which something isn't on this machine, sorted.
func MissingDebianPackages() (missing []string) {
	for _, p := range debian {
		var err error
		if filepath.IsAbs(p.what) {
			_, err = os.Stat(p.what)
		} else {
			_, err = exec.LookPath(p.what)
		}
		if err != nil {
			missing = append(missing, p.by)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// NPMPackages are the npm packages of the given names with their versions, as npm install takes them.
func NPMPackages(names ...string) (packages []string) {
	for _, p := range npm {
		if slices.Contains(names, p.name) {
			packages = append(packages, p.name+"@"+p.version)
		}
	}
	return packages
}

// MissingNPM are the names of npm packages that no variable names, and node where this machine's is too old.
func MissingNPM(ctx context.Context) (names []string) {
	for _, p := range npm {
		switch {
		case p.name == "node" && exec.CommandContext(ctx, "node", "-e", nodeIsRecent).Run() == nil:
		case p.variable != "" && os.Getenv(p.variable) != "":
		default:
			names = append(names, p.name)
		}
	}
	return names
}

const nodeIsRecent = `const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || a === 22 && b >= 1 ? 0 : 1)`

// npmVariable is the environment variable that names an npm package's folder or file.
func npmVariable(name string) string {
	for _, p := range npm {
		if p.name == name {
			return p.variable
		}
	}
	return ""
}

// NPMEnviron adds to an environment what is installed in NPMFolder below root: its commands to the PATH,
// and the variables of its packages that aren't set.
func NPMEnviron(environ []string, root string) []string {
	modules := filepath.Join(root, NPMFolder, "node_modules")
	if _, err := os.Stat(modules); err != nil {
		return environ
	}
	environ = append(environ, "PATH="+filepath.Join(modules, ".bin")+string(filepath.ListSeparator)+lookup(environ, "PATH"))
	for _, p := range npm {
		path := filepath.Join(modules, p.name, p.file)
		if _, err := os.Stat(path); err == nil && p.variable != "" && lookup(environ, p.variable) == "" {
			environ = append(environ, p.variable+"="+path)
		}
	}
	return environ
}

func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
