// The page to which the browser comes back: it redeems the code and tells the window that opened it.
import { onMcpAuthorization } from 'use-mcp';

onMcpAuthorization();
