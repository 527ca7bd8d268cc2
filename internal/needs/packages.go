package needs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// debian lists what the tests use besides Go, make and git: commands and files with absolute paths, and the Debian packages that
// provide them.
var debian = map[string]string{
	// Shells, for the output of export and for completion scripts.
	"bash": "bash", "dash": "dash", "busybox": "busybox", "ksh": "ksh", "zsh": "zsh", "mksh": "mksh", "fish": "fish",
	// Encoders whose output --mask must recognise, and terminals.
	"python3": "python3", "/usr/bin/python3": "python3", "node": "nodejs", "npm": "npm", "xxd": "xxd",
	"stty": "coreutils", "base64": "coreutils", "sha256sum": "coreutils", "cp": "coreutils", "chroot": "coreutils", "sh": "dash",
	// Networks, namespaces and users of tests.
	"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux", "setsid": "util-linux", "setpriv": "util-linux", "mount": "mount", "useradd": "passwd",
	// EnvironmentFile=, and machines that boot with the agent's unit.
	"systemctl": "systemd", "/lib/systemd/systemd": "systemd", "systemd-analyze": "systemd", "systemd-escape": "systemd", "systemd-nspawn": "systemd-container", "debootstrap": "debootstrap",
	// The race detector needs C; gcore dumps the core of the running agent.
	"gcc": "gcc", "/usr/include/stdlib.h": "libc6-dev", "gcore": "gdb",
	// Packages and install.sh.
	"dpkg": "dpkg", "dpkg-deb": "dpkg", "rpm": "rpm", "lintian": "lintian", "shellcheck": "shellcheck", "tar": "tar",
	"openssl": "openssl", "haproxy": "haproxy", "/usr/lib/podman/netavark": "netavark", "/usr/lib/podman/aardvark-dns": "aardvark-dns", "iptables": "iptables", "ssh-keygen": "openssh-client", "man": "man-db", "groff": "groff", "curl": "curl", "wget": "wget", "apt-get": "apt",
	"make": "make", "git": "git", "jq": "jq", "perl": "perl",
	// Programs and a machine for arm64.
	"qemu-aarch64": "qemu-user", "qemu-system-aarch64": "qemu-system-arm", "cpio": "cpio",
	// The vault's page. Without a font, a browser cannot measure text.
	"chromium": "chromium", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
	// Containers.
	"podman": "podman", "runc": "runc", "/usr/libexec/podman/catatonit": "catatonit", "podman-compose": "podman-compose", "ldd": "libc-bin",
	// Clients of the egress broker.
	"java": "default-jre-headless", "/usr/lib/python3/dist-packages/requests/__init__.py": "python3-requests",
	"/usr/lib/python3/dist-packages/httpx/__init__.py": "python3-httpx", "/usr/lib/python3/dist-packages/h2/__init__.py": "python3-h2",
	"/usr/lib/python3/dist-packages/botocore/__init__.py": "python3-botocore",
	// A database server for vaults, and a pooler in front of it.
	"pg_ctlcluster": "postgresql", "pgbouncer": "pgbouncer",
	// The system's certificate authorities, for doctor and TLS.
	"/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}

// npm lists npm packages: the tested version, and the variable with the path of a package's folder, or of a file in it. node is
// for machines with a version below 22.21, which uses no proxy; the --env-file of 22.0 supports no line breaks either.
var npm = []struct{ name, version, variable, file string }{
	{"dotenv", "18.0.10", "DOTENV_MODULE", ""},
	{"oidc-provider", "9.13.3", "OIDC_PROVIDER_DIR", ""},
	{"axe-core", "4.14.1", "AXE_JS", "axe.min.js"},
	{"node", "22", "", ""},
}

// NPMFolder is the folder in the repository into which npm installs packages for the tests.
const NPMFolder = "bin/npm"

// DebianPackage returns the package that provides a command, or "".
func DebianPackage(command string) string { return debian[command] }

// MissingDebianPackages lists the packages of which this machine lacks something.
func MissingDebianPackages() (missing []string) {
	for what, by := range debian {
		_, err := exec.LookPath(what)
		if filepath.IsAbs(what) { // maybe not executable
			_, err = os.Stat(what)
		}
		if err != nil {
			missing = append(missing, by)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// NPMPackages returns the arguments of npm install for npm packages: names with versions.
func NPMPackages(names ...string) (packages []string) {
	for _, p := range npm {
		if slices.Contains(names, p.name) {
			packages = append(packages, p.name+"@"+p.version)
		}
	}
	return packages
}

// MissingNPM returns the names of npm packages whose variable isn't set, and node if this machine's is too old.
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

const nodeIsRecent = `const [a, b] = process.versions.node.split(".").map(Number); process.exit(a >= 24 || a === 22 && b >= 21 ? 0 : 1)`

// NPMEnviron adds the packages in NPMFolder below root to an environment: commands to PATH, and variables that aren't set.
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

// lookup returns the value of a variable in an environment.
func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
