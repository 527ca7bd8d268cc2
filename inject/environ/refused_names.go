package environ

import "strings"

// classify returns the class of a variable. Names are case-sensitive, except those that programs read in any case:
// proxies (Python) and npm's settings. docs/security.md has the programs that read a name, and what it makes them do.
func classify(name string) nameClass {
	switch {
	case IsOwn(name):
		return ownName
	case movesTraffic(name): // before the families of names that run code, which contain some of these
		return trafficName
	case runsCode(name):
		return codeName
	case changesBehaviour(name):
		return warnedName
	}
	return plainName
}

// IsOwn reports whether a variable belongs to miosa-env or the service manager.
func IsOwn(name string) bool {
	switch name {
	case "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET":
		return true
	}
	return hasAnyPrefix(name, "MIOSA_", "LISTEN_", "WATCHDOG_")
}

func runsCode(name string) bool {
	switch name {
	case // The dynamic linker.
		"SHLIB_PATH", "LIBPATH",
		// The C library.
		"GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR", "LOCPATH", "NLSPATH", "MALLOC_TRACE",
		// Shells.
		"PATH", "IFS", "CDPATH", "ENV", "BASH_ENV", "BASHOPTS", "BASH_LOADABLES_PATH", "SHELLOPTS", "PS0", "PS4",
		"PROMPT_COMMAND", "GLOBIGNORE", "FPATH", "ZDOTDIR", "NULLCMD", "READNULLCMD", "PSModulePath", "INPUTRC",
		// Python.
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONWARNINGS",
		"PYTHONBREAKPOINT", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR",
		// Perl, Ruby.
		"PERL5OPT", "PERL5LIB", "PERL5DB", "PERLLIB", "PERLIO_DEBUG", "RUBYOPT", "RUBYLIB", "RUBYSHELL", "BUNDLE_GEMFILE",
		"GEM_HOME", "GEM_PATH",
		// JavaScript.
		"NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE", "ELECTRON_RUN_AS_NODE", "BUN_OPTIONS",
		// Java.
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH",
		// Maven, Gradle.
		"M2_HOME",
		// .NET, PHP, Lua.
		"DOTNET_STARTUP_HOOKS", "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "DOTNET_ROOT", "NUGET_PLUGIN_PATHS",
		"NUGET_NETCORE_PLUGIN_PATHS", "PHPRC", "PHP_INI_SCAN_DIR", "COMPOSER_HOME",
		// Erlang, R, Tcl, Julia.
		"ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS", "ERL_LIBS", "ELIXIR_ERL_OPTIONS", "R_PROFILE", "R_PROFILE_USER",
		"R_ENVIRON", "R_ENVIRON_USER", "R_LIBS", "R_LIBS_USER", "TCLLIBPATH", "JULIA_LOAD_PATH", "JULIA_DEPOT_PATH",
		// Compilers.
		"CC", "CXX", "CPP", "LD", "AR", "AS", "FC", "RANLIB", "GCC_EXEC_PREFIX", "COMPILER_PATH", "CFLAGS", "CXXFLAGS",
		"CPPFLAGS", "LDFLAGS",
		// Make, CMake, pkg-config.
		"MAKEFLAGS", "GNUMAKEFLAGS", "MAKEFILES", "PKG_CONFIG", "PKG_CONFIG_PATH",
		// Go.
		"GOFLAGS", "GOENV", "GOROOT", "GOPATH", "GOTOOLCHAIN", "GOCACHEPROG", "GOAUTH",
		// Rust.
		"RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS",
		"CARGO_HOME", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME",
		// Other version control.
		"SVN_SSH", "CVS_RSH", "RSYNC_RSH", "RSYNC_CONNECT_PROG", "HGRCPATH",
		// Tar, zip.
		"TAR_OPTIONS", "ZIPOPT",
		// Vi, Vim, Neovim, Emacs.
		"VIMINIT", "GVIMINIT", "EXINIT", "VIM", "VIMRUNTIME", "NVIM_APPNAME", "EMACSLOADPATH",
		// Less, man, fzf, ripgrep.
		"LESS", "LESSOPEN", "LESSCLOSE", "LESSKEY", "LESSKEYIN", "LESSKEY_CONTENT", "MANOPT", "RIPGREP_CONFIG_PATH",
		// Pagers, editors, prompts, browsers.
		"PAGER", "MANPAGER", "EDITOR", "VISUAL", "BROWSER",
		// Docker Compose, Ansible, Terraform.
		"TF_DATA_DIR",
		// Psql, MySQL, Wget, GnuPG, mailcap.
		"PSQLRC", "LIBMYSQL_PLUGINS", "LIBMYSQL_PLUGIN_DIR", "WGETRC", "GNUPGHOME", "MAILCAPS",
		// OpenSSL, GTK, Qt.
		"OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES", "GTK_MODULES", "GTK_PATH", "GIO_EXTRA_MODULES",
		"QT_PLUGIN_PATH":
		return true
	}
	return hasAnyPrefix(name,
		"LD_", "_RLD", "DYLD_", "BASH_FUNC_", "CORECLR_PROFILER", "COR_PROFILER", "LUA_INIT", "LUA_PATH", "LUA_CPATH") ||
		hasPrefixFold(name, "NPM_CONFIG_") ||
		hasAnySuffix(name, "_OPTS", "_PAGER", "_EDITOR", "_ASKPASS", "_CONFIG_DIR", "_CONFIG_HOME", "_CONFIG_DIRS") ||
		hasAnyPrefix(name, // whole families, of which only some run code
			"GIT_", "PIP_", "UV_", "CONDA_", "YARN_", "MAVEN_", "GRADLE_", "CMAKE_", "CGO_", "CARGO_BUILD_", "CARGO_TARGET_",
			"PYTEST_", "FZF_", "COMPOSE_", "ANSIBLE_", "TF_CLI_", "CLOUDSDK_") && !isCredential(name) && !isIdentity(name)
}

func movesTraffic(name string) bool {
	switch name {
	case // TLS libraries.
		"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
		"NODE_TLS_REJECT_UNAUTHORIZED", "PYTHONHTTPSVERIFY", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSLKEYLOGFILE",
		"DENO_CERT", "DENO_TLS_CA_STORE", "NODE_USE_SYSTEM_CA", "NIX_SSL_CERT_FILE",
		// Curl.
		"CURL_HOME",
		// Go, Cargo, Twine.
		"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOINSECURE", "GOPRIVATE", "GOVCS", "TWINE_REPOSITORY_URL",
		// Docker, Podman, Kubernetes.
		"BUILDKIT_HOST", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_STORAGE_CONF",
		"REGISTRY_AUTH_FILE", "KUBECONFIG",
		// AWS.
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
		// SSH, Kerberos.
		"SSH_AUTH_SOCK", "KRB5_CONFIG", "KRB5_KTNAME",
		// The resolver.
		"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF", "NIS_PATH":
		return true
	}
	return hasAnyPrefix(name, "GIT_SSL_", "CARGO_HTTP_", "POETRY_REPOSITORIES_", "AWS_ENDPOINT_URL") || hasSuffixFold(name, "_PROXY") ||
		hasAnySuffix(name, "_BASE_URL", "_API_BASE", "_API_HOST", "_API_ENDPOINT", "_ENDPOINT_URL") ||
		hasAnyPrefix(name, "DOCKER_") && !isCredential(name)
}

// isCredential reports whether a name in a refused family is that of a credential: no program of these reads such a name as
// anything else.
func isCredential(name string) bool {
	if name == "PIP_USER" { // an option
		return false
	}
	switch name {
	case "DOCKER_AUTH_CONFIG": // the credentials of registries, as JSON
		return true
	}
	return hasAnySuffix(name, "_TOKEN", "_PASSWORD", "_PASSWD", "_PASSPHRASE", "_SECRET", "_KEY", "_PAT", "_USERNAME", "_USER")
}

// isIdentity reports whether a name is one of those with which Git names authors.
func isIdentity(name string) bool { return hasAnyPrefix(name, "GIT_AUTHOR_", "GIT_COMMITTER_") }

func changesBehaviour(name string) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "TZ", "TZDIR", "LANG", "GODEBUG", "GOTRACEBACK":
		return true
	}
	return hasAnyPrefix(name, "TERM", "LC_", "GIT_AUTHOR_", "GIT_COMMITTER_")
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(s) >= len(p) && s[:len(p)] == p { // strings.HasPrefix isn't inlined (Makefile), and there are many
			return true
		}
	}
	return false
}

func hasAnySuffix(s string, suffixes ...string) bool {
	for _, p := range suffixes {
		if len(s) >= len(p) && s[len(s)-len(p):] == p {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
