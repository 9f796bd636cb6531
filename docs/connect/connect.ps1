# Adds a connector to Claude Code on Windows: checks the command, replaces an entry of the same name, adds, and verifies.
#
#   powershell -ExecutionPolicy Bypass -File docs\connect\connect.ps1 [-Name NAME] [-Scope user|local|project] [-Url URL]
#
# Without -Url it asks for it. The scope user means every folder; local and project mean this one.
param(
    [ValidatePattern('^[A-Za-z0-9_-]+$')]
    [string]$Name = 'github',
    [ValidateSet('user', 'local', 'project')]
    [string]$Scope = 'user',
    [string]$Url = ''
)
$ErrorActionPreference = 'Stop'

function Stop-WithMessage([string]$Message) {
    Write-Host $Message
    exit 1
}

if (-not (Get-Command claude -ErrorAction SilentlyContinue)) {
    Stop-WithMessage 'The command "claude" was not found. Install Claude Code, open a new window, and run this again.'
}
if (-not $Url) { $Url = (Read-Host 'Connector URL (ends in /mcp)').Trim() }
$uri = $null
if (-not [Uri]::TryCreate($Url, [UriKind]::Absolute, [ref]$uri) -or $uri.Scheme -notin 'https', 'http') {
    Stop-WithMessage "This is not a URL: $Url"
}
if ($uri.Scheme -eq 'http' -and -not $uri.IsLoopback) {
    Stop-WithMessage "Claude Code sends a token to this URL, so it must begin with https:// (http:// only on this machine): $Url"
}

# An entry of the same name in another scope could win over the new one. None is not an error.
$old = @('local', 'user') + @($Scope) | Select-Object -Unique
foreach ($each in $old) {
    try { & claude mcp remove --scope $each $Name *> $null } catch { $null = $_ }
}

& claude mcp add --scope $Scope --transport http $Name $Url
if ($LASTEXITCODE -ne 0) {
    # Versions without --transport.
    $json = @{ type = 'http'; url = $Url } | ConvertTo-Json -Compress
    # Before version 7.3, PowerShell removes quotation marks inside arguments unless they are escaped.
    if ($PSVersionTable.PSVersion -lt [version]'7.3') { $json = $json.Replace('"', '\"') }
    & claude mcp add-json --scope $Scope $Name $json
    if ($LASTEXITCODE -ne 0) {
        Stop-WithMessage 'Claude Code accepted neither form of the command. Its message is above.'
    }
}

$shown = (& claude mcp get $Name) -join "`n"
if ($LASTEXITCODE -ne 0) {
    Stop-WithMessage "The entry was added, but Claude Code does not find it: claude mcp get $Name"
}
Write-Host $shown
if (-not $shown.Contains($Url)) {
    Stop-WithMessage "Claude Code uses another entry with the name $Name, perhaps the one in .mcp.json of this folder. Choose another -Name."
}
Write-Host ''
Write-Host "Next: start claude, type /mcp, choose $Name and Authenticate, and type the PIN in your browser."
Write-Host "If it says `"Failed to connect`": cargo run -- doctor $Url"
