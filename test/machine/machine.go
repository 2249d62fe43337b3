package machine

// Machine says what the machine is like.
type Machine struct {
	// Name, a word, tells it from others: only one of a name runs at a time.
	Name string
	// HostName and Address, with the length of its prefix, are the machine's.
	HostName, Address string
	// Cgroups are patterns of the cgroups that what runs there makes, which are the
	// whole machine's.
	Cgroups []string
	// Keep are directories that are seen there all the same.
	Keep []string
}

// stageEnv is the variable that tells the copies of the test's program apart: the
// one that somebody started has none, then comes the namespaces' first process, then
// the one that runs the tests.
func (m Machine) stageEnv() string { return "VPP_CNI_STAGE_" + m.Name }

// lockFile keeps two of one name apart: they would share cgroups.
func (m Machine) lockFile() string { return "/tmp/vpp-cni-" + m.Name + ".lock" }
