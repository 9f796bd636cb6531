# Adds the connector to Claude Code on Windows: finds the command, replaces an older entry, and tries both forms of the command.
param(
    [string]$Name = 'github',
    [string]$Url = ''
)
$ErrorActionPreference = 'Stop'

if (-not (Get-Command claude -ErrorAction SilentlyContinue)) {
    Write-Host 'The command "claude" was not found. Install Claude Code, open a new window, and run this again.'
    exit 1
}
if (-not $Url) { $Url = Read-Host 'Connector URL (ends in /mcp)' }
$uri = $null
if (-not [Uri]::TryCreate($Url, [UriKind]::Absolute, [ref]$uri) -or $uri.Scheme -notin 'https', 'http') {
    Write-Host "This is not a URL: $Url"
    exit 1
}

# Without this, an older entry of that name would stay. If there is none, that is not an error.
try { & claude mcp remove $Name *> $null } catch { }

& claude mcp add --transport http $Name $Url
if ($LASTEXITCODE -ne 0) {
    $json = @{ type = 'http'; url = $Url } | ConvertTo-Json -Compress
    # Before version 7.3, PowerShell removes quotation marks inside arguments unless they are escaped.
    if ($PSVersionTable.PSVersion -lt [version]'7.3') { $json = $json.Replace('"', '\"') }
    & claude mcp add-json $Name $json
    if ($LASTEXITCODE -ne 0) {
        Write-Host 'Claude Code accepted neither form of the command. Its message is above.'
        exit 1
    }
}

& claude mcp get $Name
Write-Host ''
Write-Host 'Next: start claude, type /mcp, choose the server and Authenticate, and type the PIN in your browser.'
